# shellcheck shell=bash disable=SC2034,SC2154 # what script/services and the services set and use
# What the services share; sourced by script/services.

die() { echo "services: $NAME: $*" >&2; exit 1; }

# needs COMMAND...: which script/setup --services installs.
needs() {
    local command
    for command; do
        [ -x "$(command -v "$command")" ] || die "there is no $command; script/setup --services installs it"
    done
}

# maven GOAL OPTION...: in a folder of its own, for it leaves marks where it runs.
# Debian's Maven colours its output even where there is no terminal.
maven() {
    needs mvn
    (cd "$WORK" && mvn -q -B "org.apache.maven.plugins:maven-dependency-plugin:2.8:$1" "${@:2}" 2>&1 |
        sed 's/\x1b\[[0-9;]*m//g') >&2
}

# maven_jars FOLDER GROUP:ARTIFACT:VERSION...: the jars, and what they need at run time.
maven_jars() {
    local into=$1 group artifact version
    shift
    {
        echo '<project><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>wind</groupId><artifactId>jars</artifactId><version>1</version><dependencies>'
        while IFS=: read -r group artifact version; do
            echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
        done < <(printf '%s\n' "$@")
        echo '</dependencies></project>'
    } >"$WORK/pom.xml"
    maven copy-dependencies -DincludeScope=runtime -DoutputDirectory="$into"
}

# maven_unpack FOLDER GROUP:ARTIFACT:VERSION:TYPE
maven_unpack() { maven unpack -Dartifact="$2" -DoutputDirectory="$1"; }

# run_as USER: sets AS, the prefix for programs that refuse to run as root. The one capability lets
# them reach a DIR inside a folder that only root may enter; without the secure bit access(2) would
# still deny it.
run_as() {
    AS=()
    [ "$EUID" -ne 0 ] || AS=(setpriv "--reuid=$1" "--regid=$(id -g "$1")" --clear-groups
        --inh-caps=+dac_override --ambient-caps=+dac_override --securebits=+no_setuid_fixup)
}

# on_a_mount: for what asks the mount table where its data lies. In a chroot not even / is there; for
# this process alone it becomes a mount.
on_a_mount() {
    [ "$EUID" -eq 0 ] && ! findmnt -n -T "$DIR" >/dev/null || return 0
    mkdir -p "$DIR/root"
    # shellcheck disable=SC2016 # the inner shells are the ones to expand
    AS=(unshare --mount --propagation unchanged -- bash -c 'mount --rbind / "$0/root" && exec chroot "$0/root" "$@"' "$DIR"
        bash -c 'cd "$0" && exec "$@"' "$DIR" "${AS[@]}")
}

# daemon FOLDER COMMAND...: runs detached in FOLDER, with FOLDER/pid and FOLDER/log.
# Its parent is a shell that waits for it: where process 1 is slow to collect the dead, PostgreSQL
# takes the zombie of a killed one for a living one. Beside it, a watch on the owner.
daemon() {
    rm -f "$1/pid"
    # shellcheck disable=SC2016 # the inner shell is the one to expand
    (cd "$1" && OWNER=$owner SIGNAL=$SIGNAL exec setsid bash -c '
        "$@" 9>&- &
        pid=$! watch=
        echo $pid >pid.new && mv pid.new pid
        if [ -n "$OWNER" ]; then
            (
                while kill -0 "$OWNER"; do kill -0 $pid || exit; sleep 1; done
                kill -s "$SIGNAL" $pid
                for _ in {1..20}; do kill -0 $pid || exit; sleep 1; done
                kill -9 $pid
            ) 2>/dev/null 9>&- &
            watch=$!
        fi
        wait $pid
        [ -z "$watch" ] || kill $watch
    ' daemon "${@:2}" </dev/null >>log 2>&1 &)
    until [ -s "$1/pid" ]; do sleep 0.01; done
}

# running FOLDER: PROCESS guards against a pid file that outlived its process. One killed just now
# has no command line any more, but may still hold its port.
running() {
    local pid line=
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    while line=$(tr '\0' ' ' <"/proc/$pid/cmdline") && [ -z "$line" ]; do sleep 0.05; done 2>/dev/null
    [[ $line == *"$PROCESS"* ]]
}

terminate() { # folder
    local end=$((SECONDS + 30))
    ! running "$1" || kill -s "$SIGNAL" "$(cat "$1/pid")" || true
    ! running "$1" || kill -s CONT "$(cat "$1/pid")" 2>/dev/null || true
    while running "$1"; do
        [ $SECONDS -lt $end ] || kill -9 "$(cat "$1/pid")" || true
        sleep 0.1
    done
    rm -f "$1/pid"
}

# listens FOLDER PORT: its process does, and not another one that came first.
listens() {
    local pid inode
    pid=$(cat "$1/pid")
    # shellcheck disable=SC2013 # words are what we want
    for inode in $(awk -v port="$(printf ':%04X' "$2")" \
        '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }' /proc/net/tcp /proc/net/tcp6); do
        find "/proc/$pid/fd" -lname "socket:\[$inode\]" 2>/dev/null | grep -q . && return
    done
    return 1
}

# until_ready FOLDER PORT COMMAND...: waits until it listens and COMMAND succeeds.
until_ready() {
    local where=$1 port=$2 end=$((SECONDS + LIMIT)) why=
    shift 2
    until { listens "$where" "$port" && "$@"; } >/dev/null 2>&1; do
        running "$where" || why='ended while starting'
        [ $SECONDS -lt $end ] || why="not ready after $LIMIT s"
        if [ -n "$why" ]; then
            grep -aE 'ERROR|FATAL|Exception' "$where/log" | tail -n 5 >&2 || true
            tail -n 10 "$where/log" >&2
            die "$why; see $where/log"
        fi
        sleep 0.1
    done
}

# free_port N: the first of N free ports, below those that the kernel gives to clients.
free_port() {
    local port i
    while :; do
        port=$((20000 + SRANDOM % 12000))
        for ((i = 0; i < $1; i++)); do
            ! (: <>"/dev/tcp/127.0.0.1/$((port + i))") 2>/dev/null || continue 2
        done
        echo "$port"
        return
    done
}
