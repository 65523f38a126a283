"""The servers of the lab: nginx with TLS, sshd, dnsmasq, and a small NTP server."""

import os
import random
import socket
import time

from . import LabError, net, site
from .launch import SERVER_UID

PORTS = {"web": 443, "ssh": 22, "dns": 53, "ntp": 123}

NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    types {{ text/html html; text/css css; text/javascript js; image/png png; }}
    access_log off; keepalive_timeout {keepalive}; server_tokens off; etag on; gzip on;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    server {{
        listen {ip}:443 ssl{http2}; listen {ip}:80;
        ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
        root {dir}/www;
        location /health {{ default_type text/plain; return 200 "ok\\n"; }}
        location /api/ {{ default_type application/json; error_page 405 =200 $uri; }}
        location /submit {{ default_type application/json; return 200 "{{}}"; }}
    }}
}}
"""

SSHD = """
Port 22
ListenAddress {ip}
HostKey {dir}/host_key
PidFile none
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile {keys}
StrictModes no
PrintMotd no
PrintLastLog no
X11Forwarding no
"""

NTP = os.path.join("actors", "ntp.py")


def _tag(host, service):
    return f"{host['name']}-{service}"


def _dir(run_dir, host, service):
    path = os.path.join(run_dir, "srv", _tag(host, service))
    os.makedirs(path)
    return path


def _own(path):
    for folder, _, files in os.walk(path):
        os.chown(folder, SERVER_UID, SERVER_UID)
        for name in files:
            os.chown(os.path.join(folder, name), SERVER_UID, SERVER_UID)


def start_web(launcher, plan, host):
    """nginx with a site of its own and a throw-away certificate."""
    path = _dir(launcher.run_dir, host, "web")
    rng = random.Random(f"{plan.seed}/site/{host['name']}")
    host["pages"] = site.make_site(rng, os.path.join(path, "www"), plan.site_size)
    names = plan.names_of(host)
    cert = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    cert += ("-nodes", "-days", "90", "-keyout", f"{path}/key.pem", "-out", f"{path}/cert.pem")
    alt = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
    net.run(*cert, "-subj", f"/CN={names[0]}", "-addext", alt)
    conf = NGINX.format(
        dir=path,
        ip=host["ip"],
        keepalive=rng.choice((5, 15, 65)),
        http2=rng.choice(("", " http2")),
    )
    with open(f"{path}/nginx.conf", "w", encoding="ascii") as file:
        file.write(conf)
    _own(path)
    argv = ["nginx", "-e", "stderr", "-p", path, "-c", f"{path}/nginx.conf"]
    launcher.start(host["name"], argv, SERVER_UID, tag=_tag(host, "web"))


def start_ssh(launcher, plan, host):
    """OpenSSH's server, with passwords and keys, on the lab's accounts."""
    del plan
    path = _dir(launcher.run_dir, host, "ssh")
    net.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{path}/host_key")
    keys = os.path.join(launcher.run_dir, "authorized_keys")
    with open(f"{path}/sshd_config", "w", encoding="ascii") as file:
        file.write(SSHD.format(ip=host["ip"], dir=path, keys=keys))
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", f"{path}/sshd_config"]
    launcher.start(host["name"], argv, tag=_tag(host, "ssh"))


def start_dns(launcher, plan, host):
    """dnsmasq that knows the lab's names and forwards nothing."""
    path = _dir(launcher.run_dir, host, "dns")
    lines = ["no-resolv", "no-hosts", "no-daemon", "bind-interfaces", "local=/#/", "cache-size=0"]
    lines += [f"listen-address={host['ip']}", "local-ttl=300", "pid-file=", "log-facility=-"]
    for name, address in sorted(plan.names.items()):
        lines.append(f"host-record={name},{address}")
    for domain in plan.domains:
        lines.append(f"mx-host={domain},mail.{domain},10")
        lines.append(f'txt-record={domain},"v=spf1 mx -all"')
    with open(f"{path}/dnsmasq.conf", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    _own(path)
    argv = ["dnsmasq", "--conf-file=" + f"{path}/dnsmasq.conf", "--user=", "--group="]
    launcher.start(host["name"], argv, SERVER_UID, tag=_tag(host, "dns"))


def start_ntp(launcher, plan, host):
    """A small SNTP server (ours: Debian's would set the machine's clock)."""
    del plan
    script = os.path.join(launcher.run_dir, NTP)
    argv = ["/usr/bin/python3", script, "serve", host["ip"]]
    launcher.start(host["name"], argv, SERVER_UID, tag=_tag(host, "ntp"))


STARTERS = {"web": start_web, "ssh": start_ssh, "dns": start_dns, "ntp": start_ntp}


def start_all(launcher, plan):
    """Start every service of every host and wait until each one listens."""
    for host in plan.hosts:
        for service in host["services"]:
            STARTERS[service](launcher, plan, host)
    deadline = time.monotonic() + 20
    for host in plan.hosts:
        for service in host["services"]:
            _wait(launcher, host, service, deadline)


def _wait(launcher, host, service, deadline):
    """A service is there when its port can no longer be bound."""
    kind = socket.SOCK_DGRAM if service in ("dns", "ntp") else socket.SOCK_STREAM
    while time.monotonic() < deadline:
        with net.inside(host["name"]):
            probe = socket.socket(socket.AF_INET, kind)
        with probe:
            try:
                probe.bind((host["ip"], PORTS[service]))
            except OSError:
                return
        time.sleep(0.1)
    raise LabError(
        f"{service} on {host['name']} does not start: {launcher.log_tail(_tag(host, service))}"
    )
