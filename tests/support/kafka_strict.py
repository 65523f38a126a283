"""A broker that asks for more: TLS and a password at its second door, and it makes no topics."""

import subprocess

import pytest
import services

STRICT = """\
auto.create.topics.enable=false
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_SSL://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={module} required user_edge="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
"""
PASSWORD = "correct horse"


class StrictKafka(services.Kafka):
    """It makes no topic by itself, and has a second door: TLS, and a password."""

    def __init__(self, folder):
        super().__init__("kafka", folder)
        self.start()
        port = int(self.brokers.rsplit(":", 1)[1])
        self.tls_brokers = f"127.0.0.1:{port + 2}"
        self.certificate = folder / "cert.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        make += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
        make += ["-keyout", folder / "key.pem", "-out", self.certificate]
        subprocess.run(make, check=True, capture_output=True)
        both = (folder / "key.pem").read_text() + self.certificate.read_text()
        (folder / "server.pem").write_text(both)
        more = STRICT.format(
            **{"port": port, "controller": port + 1, "tls": port + 2, "folder": folder},
            module="org.apache.kafka.common.security.plain.PlainLoginModule",
            password=PASSWORD,
        )
        (self.folder / "extra.properties").write_text(more)
        self.kill()
        self.start()


@pytest.fixture(scope="module")
def strict_kafka(tmp_path_factory):
    server = StrictKafka(tmp_path_factory.mktemp("strict"))
    yield server
    server.stop()
