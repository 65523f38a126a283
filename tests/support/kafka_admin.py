"""Topics made and deleted through librdkafka, which Wind needs anyway: Kafka's own tools are one
more download and start a Java machine for each call."""

import ctypes

_ERROR_UNKNOWN_TOPIC = 3  # RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
_PRODUCER = 0
_TIMEOUT_MS = 20_000


def _library():
    lib = ctypes.CDLL("librdkafka.so.1")
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, *arguments in (
        ("rd_kafka_conf_new", pointer),
        ("rd_kafka_conf_set", ctypes.c_int, pointer, text, text, pointer, size),
        ("rd_kafka_new", pointer, ctypes.c_int, pointer, text, size),
        ("rd_kafka_destroy", None, pointer),
        ("rd_kafka_queue_new", pointer, pointer),
        ("rd_kafka_queue_destroy", None, pointer),
        ("rd_kafka_queue_poll", pointer, pointer, ctypes.c_int),
        ("rd_kafka_event_destroy", None, pointer),
        ("rd_kafka_event_error", ctypes.c_int, pointer),
        ("rd_kafka_event_error_string", text, pointer),
        ("rd_kafka_event_CreateTopics_result", pointer, pointer),
        ("rd_kafka_event_DeleteTopics_result", pointer, pointer),
        ("rd_kafka_CreateTopics_result_topics", pointer, pointer, pointer),
        ("rd_kafka_DeleteTopics_result_topics", pointer, pointer, pointer),
        ("rd_kafka_topic_result_error", ctypes.c_int, pointer),
        ("rd_kafka_topic_result_error_string", text, pointer),
        ("rd_kafka_NewTopic_new", pointer, text, ctypes.c_int, ctypes.c_int, text, size),
        ("rd_kafka_NewTopic_set_config", ctypes.c_int, pointer, text, text),
        ("rd_kafka_NewTopic_destroy", None, pointer),
        ("rd_kafka_DeleteTopic_new", pointer, text),
        ("rd_kafka_DeleteTopic_destroy", None, pointer),
        ("rd_kafka_event_CreatePartitions_result", pointer, pointer),
        ("rd_kafka_CreatePartitions_result_topics", pointer, pointer, pointer),
        ("rd_kafka_NewPartitions_new", pointer, text, size, text, size),
        ("rd_kafka_NewPartitions_destroy", None, pointer),
        ("rd_kafka_CreatePartitions", None, pointer, pointer, size, pointer, pointer),
        ("rd_kafka_CreateTopics", None, pointer, pointer, size, pointer, pointer),
        ("rd_kafka_DeleteTopics", None, pointer, pointer, size, pointer, pointer),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Admin:
    def __init__(self, brokers):
        self.lib = _library()
        error = ctypes.create_string_buffer(256)
        conf = self.lib.rd_kafka_conf_new()
        name, value = b"bootstrap.servers", brokers.encode()
        assert self.lib.rd_kafka_conf_set(conf, name, value, error, 256) == 0, error.value
        self.handle = self.lib.rd_kafka_new(_PRODUCER, conf, error, 256)
        assert self.handle, error.value
        self.queue = self.lib.rd_kafka_queue_new(self.handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lib.rd_kafka_queue_destroy(self.queue)
        self.lib.rd_kafka_destroy(self.handle)

    def create(self, name, partitions, replicas, config):
        error = ctypes.create_string_buffer(256)
        topic = self.lib.rd_kafka_NewTopic_new(name.encode(), partitions, replicas, error, 256)
        assert topic, error.value
        for key, value in config.items():
            option = key.replace("_", ".").encode()
            self.lib.rd_kafka_NewTopic_set_config(topic, option, str(value).encode())
        self._ask("CreateTopics", topic)
        self.lib.rd_kafka_NewTopic_destroy(topic)

    def delete(self, name):
        """One that is not there is no error."""
        topic = self.lib.rd_kafka_DeleteTopic_new(name.encode())
        self._ask("DeleteTopics", topic, (_ERROR_UNKNOWN_TOPIC,))
        self.lib.rd_kafka_DeleteTopic_destroy(topic)

    def grow(self, name, partitions):
        """To so many partitions."""
        error = ctypes.create_string_buffer(256)
        more = self.lib.rd_kafka_NewPartitions_new(name.encode(), partitions, error, 256)
        assert more, error.value
        self._ask("CreatePartitions", more)
        self.lib.rd_kafka_NewPartitions_destroy(more)

    def _ask(self, what, topic, allowed=()):
        lib = self.lib
        one = (ctypes.c_void_p * 1)(topic)
        getattr(lib, f"rd_kafka_{what}")(self.handle, one, 1, None, self.queue)
        event = lib.rd_kafka_queue_poll(self.queue, _TIMEOUT_MS)
        assert event, f"{what}: no answer"
        try:
            assert lib.rd_kafka_event_error(event) == 0, lib.rd_kafka_event_error_string(event)
            count = ctypes.c_size_t()
            result = getattr(lib, f"rd_kafka_event_{what}_result")(event)
            topics = getattr(lib, f"rd_kafka_{what}_result_topics")(result, ctypes.byref(count))
            first = ctypes.cast(topics, ctypes.POINTER(ctypes.c_void_p))[0]
            code = lib.rd_kafka_topic_result_error(first)
            if code not in (0, *allowed):
                raise AssertionError(lib.rd_kafka_topic_result_error_string(first))
        finally:
            lib.rd_kafka_event_destroy(event)
