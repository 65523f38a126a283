# shellcheck shell=bash disable=SC2034,SC2153 # DIR, PORT and the like are script/services'
# Apache Kafka in KRaft mode. Broker N listens on PORT+N-1 and lives in DIR/N, so that a test can
# kill -9 $(cat DIR/2/pid). Three brokers need two for every write.
VERSION=4.4.0
LOG4J=2.25.5 # what this Kafka depends on; the release ships the slf4j binding beside it
LIB=$CACHE/kafka-$VERSION
PROCESS=kafka.Kafka
PORTS=6
CLUSTER_ID=V2luZFRlc3RDbHVzdGVyMQ

service_install() {
    [ ! -d "$LIB" ] || return 0
    rm -rf "$LIB.new"
    maven_jars "$LIB.new" "org.apache.kafka:kafka_2.13:$VERSION" "org.apache.logging.log4j:log4j-slf4j-impl:$LOG4J"
    mv "$LIB.new" "$LIB"
}

configure() { # node
    local quorum=() n
    for ((n = 1; n <= BROKERS; n++)); do quorum+=("$n@127.0.0.1:$((PORT + BROKERS + n - 1))"); done
    mkdir -p "$DIR/$1"
    cat >"$DIR/$1/server.properties" <<END
process.roles=broker,controller
node.id=$1
listeners=PLAINTEXT://127.0.0.1:$((PORT + $1 - 1)),CONTROLLER://127.0.0.1:$((PORT + BROKERS + $1 - 1))
controller.listener.names=CONTROLLER
controller.quorum.voters=$(IFS=,; echo "${quorum[*]}")
log.dirs=$DIR/$1/data
num.partitions=3
default.replication.factor=$BROKERS
min.insync.replicas=$(((BROKERS + 1) / 2))
offsets.topic.replication.factor=$BROKERS
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$BROKERS
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=$BROKERS
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=3
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
END
    # what a test adds: other limits, listeners
    [ ! -e "$DIR/extra.properties" ] || cat "$DIR/extra.properties" >>"$DIR/$1/server.properties"
}

launch() { # node
    local place=$DIR/$1
    local java=(java -Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=INFO -cp "$LIB/*")
    configure "$1"
    [ -e "$place/data/meta.properties" ] ||
        "${java[@]}" kafka.tools.StorageTool format -t "$CLUSTER_ID" -c "$place/server.properties" >>"$place/log" 2>&1
    daemon "$place" "${java[@]}" kafka.Kafka "$place/server.properties"
}

# All brokers known, then one message written by all replicas and read by a group: the first
# idempotent producer and the first group wait for their coordinators, and tests should not.
ready() {
    [ "$(kcat -b "$BOOTSTRAP" -L | grep -c '^  broker ')" -eq "$BROKERS" ] &&
        date | kcat -b "$BOOTSTRAP" -P -t wind-ready -X enable.idempotence=true -X message.timeout.ms=5000 &&
        timeout 15 kcat -b "$BOOTSTRAP" -X auto.offset.reset=earliest -c 1 -G wind-ready wind-ready
}

service_start() {
    needs java kcat
    BROKERS=${OPTION:-1}
    [[ $BROKERS =~ ^[1-3]$ ]] || die "1 to 3 brokers, not '$BROKERS'"
    BOOTSTRAP=$(seq -s, -f "127.0.0.1:%.0f" "$PORT" $((PORT + BROKERS - 1)))
    echo "WIND_TEST_KAFKA=$BOOTSTRAP" >"$DIR/env"
    local node started=()
    for ((node = 1; node <= BROKERS; node++)); do
        running "$DIR/$node" && continue
        launch "$node" &
        started+=("$node")
    done
    wait
    for node in "${started[@]}"; do until_ready "$DIR/$node" $((PORT + node - 1)) ready; done
}

service_stop() {
    local place
    for place in "$DIR"/[0-9]*/; do terminate "${place%/}" & done
    wait
}
