# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# PostgreSQL with a database wind and a superuser wind without a password; the role wind_secret has
# one, "correct horse". DIR/primary, and with the option replica a streaming standby in DIR/replica
# on PORT+1. It keeps its promises about fsync unless WIND_SERVICE_FAST=1.
PROCESS=postgres
PORTS=2
SIGNAL=INT # SIGTERM waits for every client to leave

service_install() { :; } # script/setup --services

# The backends of a killed server finish their statement before they go, and hold its memory until then.
leftovers() { [ -n "$(find /proc/[0-9]*/cwd -lname "$1/data" 2>/dev/null || true)" ]; }

ask() { psql -h 127.0.0.1 -p "$1" -U wind -d postgres -Atqc "$2"; } # port statement

launch() { # folder port
    local end=$((SECONDS + LIMIT)) fsync=on
    [ "${WIND_SERVICE_FAST-}" != 1 ] || fsync=off
    ! running "$1" || return 0
    while leftovers "$1"; do
        [ $SECONDS -lt $end ] || die "processes of an earlier server still work in $1/data"
        sleep 0.1
    done
    # a standby takes up to 5 s to notice that its primary is back; here half a second
    daemon "$1" "${AS[@]}" "$BIN/postgres" -D "$1/data" -p "$2" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories="$1" -c fsync=$fsync -c wal_retrieve_retry_interval=500ms
    until_ready "$1" "$2" ask "$2" 'SELECT 1'
}

folder_for_postgres() {
    mkdir -p "$1"
    [ "$EUID" -ne 0 ] || chown postgres: "$1"
}

make_primary() {
    local data=$DIR/primary/data
    rm -rf "$data"
    "${AS[@]}" "$BIN/initdb" -D "$data.new" -U wind -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$DIR/primary/log"
    sed -i '1i host all wind_secret 127.0.0.1/32 scram-sha-256' "$data.new/pg_hba.conf"
    mv "$data.new" "$data"
}

service_start() {
    BIN=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null | sort -V | tail -1 | xargs -r dirname)
    [ -n "$BIN" ] || die "there is no PostgreSQL; script/setup --services installs it"
    [[ $OPTION =~ ^(replica)?$ ]] || die "there is no option '$OPTION'"
    echo "WIND_TEST_POSTGRES=postgresql://wind@127.0.0.1:$PORT/wind" >"$DIR/env"
    run_as postgres
    folder_for_postgres "$DIR/primary"
    [ -e "$DIR/primary/data" ] || make_primary
    launch "$DIR/primary" "$PORT"
    if [ -z "$(ask "$PORT" "SELECT 1 FROM pg_database WHERE datname = 'wind'")" ]; then
        ask "$PORT" "CREATE ROLE wind_secret SUPERUSER LOGIN PASSWORD 'correct horse'"
        ask "$PORT" "CREATE DATABASE wind"
    fi
    [ "$OPTION" = replica ] || return 0
    folder_for_postgres "$DIR/replica"
    [ -e "$DIR/replica/data/PG_VERSION" ] || "${AS[@]}" "$BIN/pg_basebackup" -h 127.0.0.1 -p "$PORT" -U wind \
        -D "$DIR/replica/data" -R -C -S replica --checkpoint=fast
    launch "$DIR/replica" $((PORT + 1))
    echo "WIND_TEST_POSTGRES_REPLICA=postgresql://wind@127.0.0.1:$((PORT + 1))/wind" >>"$DIR/env"
}

service_stop() {
    terminate "$DIR/replica"
    terminate "$DIR/primary"
}
