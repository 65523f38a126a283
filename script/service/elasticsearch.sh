# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# One Elasticsearch node, the server of the 7.17 line as Maven Central has it: templates, bulk, all
# queries and aggregations; no ILM, data streams, Painless or security.
# shellcheck source=script/service/search.sh
. "$ROOT/script/service/search.sh"
VERSION=7.17.29
HOME_OF_SERVER=$CACHE/elasticsearch-$VERSION
PROCESS=elasticsearch

service_install() {
    [ ! -d "$HOME_OF_SERVER" ] || return 0
    rm -rf "$HOME_OF_SERVER.new"
    maven_unpack "$WORK/zip" "org.elasticsearch.distribution.integ-test-zip:elasticsearch:$VERSION:zip"
    mv "$WORK/zip/elasticsearch-$VERSION" "$HOME_OF_SERVER.new"
    rm -rf "$HOME_OF_SERVER.new"/modules/x-pack-*
    mv "$HOME_OF_SERVER.new" "$HOME_OF_SERVER"
}

service_start() {
    needs java curl
    echo "WIND_TEST_ELASTICSEARCH=http://127.0.0.1:$PORT" >"$DIR/env"
    ! running "$DIR" || return 0
    make_config elasticsearch.yml
    run_as nobody
    on_a_mount
    [ "$EUID" -ne 0 ] || chown -R nobody: "$DIR"
    ES_JAVA_HOME=$(java_home) ES_TMPDIR=$DIR/tmp ES_PATH_CONF=$DIR/config \
        daemon "$DIR" "${AS[@]}" "$HOME_OF_SERVER/bin/elasticsearch"
    until_ready "$DIR" "$PORT" ready
}
