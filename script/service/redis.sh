# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# Redis with an append-only file, so that it can be killed and brought back.
PROCESS=redis-server

service_install() { :; } # script/setup --services

ready() { [ "$(redis-cli -p "$PORT" PING)" = PONG ]; }

service_start() {
    needs redis-server redis-cli
    echo "WIND_TEST_REDIS=redis://127.0.0.1:$PORT/0" >"$DIR/env"
    ! running "$DIR" || return 0
    daemon "$DIR" redis-server --bind 127.0.0.1 --port "$PORT" --dir "$DIR" --appendonly yes
    until_ready "$DIR" "$PORT" ready
}
