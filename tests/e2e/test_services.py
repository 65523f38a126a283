"""The servers of the other tests: script/services starts them, and they survive what tests do."""

import os
import subprocess
import sys

import services
import support


def ask(*words):
    return subprocess.run([services.SERVICES, *words], capture_output=True, text=True, timeout=300)


def test_kafka_keeps_what_it_took_through_a_kill(kafka):
    topic = kafka.topic()
    kafka.create_topic(topic, partitions=2, retention_ms=3600000)
    assert kafka.partitions(topic) == 2
    kafka.produce(topic, ["one", b'{"two": 2}'], key="k", headers={"schema": "1", "seq": "7"})
    kafka.kill()
    kafka.start()
    found = kafka.consume(topic)
    assert sorted(m["payload"] for m in found) == ["one", '{"two": 2}']
    assert found[0]["key"] == "k" and found[0]["headers"] == {"schema": "1", "seq": "7"}
    kafka.delete_topic(topic)
    support.until("the topic is gone", lambda: kafka.partitions(topic) == 0)
    kafka.delete_topic(topic)


def test_postgres_keeps_what_it_committed_through_a_kill(postgres, database):
    postgres.sql("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')", database)
    postgres.kill()
    postgres.start()
    assert postgres.sql("SELECT * FROM t", database) == [["1", "x"]]


def test_a_standby_follows_and_catches_up(replicated):
    url = replicated.database()
    replica = replicated.replica_url(url)
    support.until("the standby has the database", lambda: replicated.has(url))
    replicated.sql("CREATE TABLE t (a int)", url)
    replicated.kill("replica")
    replicated.sql("INSERT INTO t VALUES (1)", url)
    replicated.start()
    count = "SELECT count(*) FROM t"
    table = "SELECT to_regclass('t') IS NOT NULL"
    support.until("the standby has the table", lambda: replicated.sql(table, replica) == [["t"]])
    support.until("the standby has the row", lambda: replicated.sql(count, replica) == [["1"]])
    replicated.drop(url)


def test_redis_is_empty_and_keeps_its_keys_through_a_kill(redis):
    assert redis.cli("DBSIZE") == "0"
    redis.cli("CONFIG", "SET", "appendfsync", "always")
    redis.cli("SET", "a", "1")
    redis.kill()
    redis.start()
    assert redis.cli("GET", "a") == "1"


def test_a_search_server_is_empty_and_finds_what_it_got(search_server):
    assert search_server.indices() == []
    lines = [{"index": {"_id": "1"}}, {"text": "evil"}]
    status, answer = search_server.request("POST", "/wind/_bulk?refresh=true", lines)
    assert status == 200 and not answer["errors"]
    _, found = search_server.request("GET", "/wind/_search?q=text:evil")
    assert found["hits"]["total"]["value"] == 1


def test_run_gives_a_command_servers_of_its_own(redis):
    tell = "import os; print(os.environ['WIND_TEST_REDIS']); raise SystemExit(3)"
    done = ask("run", "redis", "--", sys.executable, "-c", tell)
    assert done.returncode == 3, done.stderr
    url = done.stdout.strip()
    assert url.startswith("redis://127.0.0.1:") and url != redis.url
    port = url.rsplit(":", 1)[1].split("/")[0]
    gone = subprocess.run(["redis-cli", "-p", port, "PING"], capture_output=True, timeout=30)
    assert gone.returncode != 0


def test_servers_end_with_their_owner(tmp_path):
    owner = subprocess.Popen(["sleep", "1000"])
    done = ask("start", "--dir", tmp_path, "--owner", str(owner.pid), "redis", "postgres")
    assert done.returncode == 0, done.stderr
    pids = [int(file.read_text()) for file in tmp_path.glob("**/pid")]
    assert len(pids) == 2 and all(os.path.exists(f"/proc/{pid}") for pid in pids)
    owner.kill()
    owner.wait()
    for pid in pids:
        services.wait_for_end(pid)


def test_who_else_listens_there_is_not_taken_for_it(redis, tmp_path):
    """A Redis answers on that port; it is not ours."""
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "port").write_text(redis.url.rsplit(":", 1)[1].split("/")[0])
    done = ask("start", "--dir", tmp_path, "redis")
    assert done.returncode == 1 and "redis: ended while starting" in done.stderr


def test_what_cannot_be_started_says_why(tmp_path):
    done = ask("start", "--dir", tmp_path, "mysql")
    assert done.returncode == 2 and "there is no service 'mysql'" in done.stderr
    done = ask("start", "--dir", tmp_path, "kafka=9")
    assert done.returncode == 1 and "kafka: 1 to 3 brokers, not '9'" in done.stderr
