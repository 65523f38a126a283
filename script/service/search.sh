# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# What Elasticsearch and OpenSearch have in common; sourced by both.
PORTS=2

# make_config FILE
make_config() {
    mkdir -p "$DIR/config" "$DIR/tmp"
    cp "$HOME_OF_SERVER/config/log4j2.properties" "$DIR/config"
    printf '%s\n' -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 >"$DIR/config/jvm.options"
    cat >"$DIR/config/$1" <<END
cluster.name: wind-test
discovery.type: single-node
network.host: 127.0.0.1
http.port: $PORT
transport.port: $((PORT + 1))
path.data: $DIR/data
path.logs: $DIR/logs
node.store.allow_mmap: false
cluster.routing.allocation.disk.threshold_enabled: false
END
}

java_home() { dirname "$(dirname "$(readlink -f "$(command -v java)")")"; }

# What it had is loaded (it answers before), then one document is written, found and deleted with its index.
ready() {
    local url=http://127.0.0.1:$PORT/wind-ready
    curl -fsS "http://127.0.0.1:$PORT/_cluster/health?wait_for_status=yellow&timeout=1s" &&
        curl -fsS -XPUT "$url/_doc/1?refresh=true" -H 'Content-Type: application/json' -d '{"state":"ready"}' &&
        curl -fsS "$url/_search?q=state:ready" | grep -q '"_id":"1"' &&
        curl -fsS -XDELETE "$url"
}
