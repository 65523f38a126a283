# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# One OpenSearch node: the server as released, which Maven Central has without its modules, and
# those modules that Wind has a use for. No ISM, no security plugin.
# shellcheck source=script/service/search.sh
. "$ROOT/script/service/search.sh"
VERSION=2.19.6 # the last line that runs on Java 17
HOME_OF_SERVER=$CACHE/opensearch-$VERSION
PROCESS=opensearch

# module NAME ARTIFACT CLASS [EXTENDS]: the jars, and what is beside them in the release.
module() {
    local into=$HOME_OF_SERVER.new/modules/$1 jar there
    maven_jars "$into" "org.opensearch.plugin:$2:$VERSION"
    for jar in "$into"/*.jar; do
        # a jar that the module would see twice stops the node
        for there in "$HOME_OF_SERVER.new/lib" ${4:+"$HOME_OF_SERVER.new/modules/$4"}; do
            [ ! -e "$there/${jar##*/}" ] || rm "$jar"
        done
    done
    cat >"$into/plugin-descriptor.properties" <<END
name=$1
description=$1
version=$VERSION
opensearch.version=$VERSION
java.version=11
classname=$3
custom.foldername=
extended.plugins=${4-}
has.native.controller=false
END
}

service_install() {
    [ ! -d "$HOME_OF_SERVER" ] || return 0
    rm -rf "$HOME_OF_SERVER.new"
    maven_unpack "$WORK/zip" "org.opensearch.distribution.integ-test-zip:opensearch:$VERSION:zip"
    mv "$WORK/zip/opensearch-$VERSION" "$HOME_OF_SERVER.new"
    module lang-painless lang-painless org.opensearch.painless.PainlessPlugin
    module analysis-common analysis-common org.opensearch.analysis.common.CommonAnalysisPlugin lang-painless
    module ingest-common ingest-common org.opensearch.ingest.common.IngestCommonPlugin lang-painless
    module mapper-extras mapper-extras-client org.opensearch.index.mapper.MapperExtrasPlugin
    module reindex reindex-client org.opensearch.index.reindex.ReindexPlugin
    cat >"$HOME_OF_SERVER.new/modules/lang-painless/plugin-security.policy" <<'END'
grant {
    permission java.lang.RuntimePermission "createClassLoader";
    permission java.lang.RuntimePermission "getClassLoader";
};
END
    mv "$HOME_OF_SERVER.new" "$HOME_OF_SERVER"
}

service_start() {
    needs java curl
    echo "WIND_TEST_OPENSEARCH=http://127.0.0.1:$PORT" >"$DIR/env"
    ! running "$DIR" || return 0
    make_config opensearch.yml
    echo -Djava.util.concurrent.ForkJoinPool.common.threadFactory=org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory \
        >>"$DIR/config/jvm.options"
    run_as nobody
    on_a_mount
    [ "$EUID" -ne 0 ] || chown -R nobody: "$DIR"
    JAVA_HOME=$(java_home) OPENSEARCH_TMPDIR=$DIR/tmp OPENSEARCH_PATH_CONF=$DIR/config \
        daemon "$DIR" "${AS[@]}" "$HOME_OF_SERVER/bin/opensearch"
    until_ready "$DIR" "$PORT" ready
}
