"""Messages with headers of their own, through librdkafka; kcat gives all of one call the same."""

import ctypes

_PRODUCER = 0
_TOPIC, _PARTITION, _VALUE, _KEY, _MSGFLAGS, _HEADER = 1, 3, 4, 5, 7, 9
_COPY, _BLOCK = 2, 4


class _Mem(ctypes.Structure):
    _fields_ = [("ptr", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("value", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
    ]


class _Union(ctypes.Union):
    _fields_ = [
        ("text", ctypes.c_char_p),
        ("i32", ctypes.c_int32),
        ("number", ctypes.c_int),
        ("mem", _Mem),
        ("header", _Header),
        ("pad", ctypes.c_char * 64),
    ]


class _Field(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("u", _Union)]


class Producer:
    """with Producer(brokers) as p: p.put(...). The end of the block waits for the broker."""

    def __init__(self, brokers, **settings):
        self.lib = ctypes.CDLL("librdkafka.so.1")
        pointer = ctypes.c_void_p
        self.lib.rd_kafka_conf_new.restype = pointer
        self.lib.rd_kafka_conf_set.argtypes = [pointer, *[ctypes.c_char_p] * 3, ctypes.c_size_t]
        self.lib.rd_kafka_new.restype = pointer
        self.lib.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
        self.lib.rd_kafka_produceva.restype = pointer
        self.lib.rd_kafka_produceva.argtypes = [pointer, pointer, ctypes.c_size_t]
        self.lib.rd_kafka_error_string.restype = ctypes.c_char_p
        self.lib.rd_kafka_error_string.argtypes = [pointer]
        self.lib.rd_kafka_poll.argtypes = [pointer, ctypes.c_int]
        self.lib.rd_kafka_flush.argtypes = [pointer, ctypes.c_int]
        self.lib.rd_kafka_destroy.argtypes = [pointer]
        conf = self.lib.rd_kafka_conf_new()
        error = ctypes.create_string_buffer(256)
        settings = {
            "bootstrap.servers": brokers,
            "enable.idempotence": "true",
            "linger.ms": "5",
        } | {name.replace("_", "."): value for name, value in settings.items()}
        for name, value in settings.items():
            code = self.lib.rd_kafka_conf_set(conf, name.encode(), str(value).encode(), error, 256)
            assert code == 0, error.value
        self.handle = self.lib.rd_kafka_new(_PRODUCER, conf, error, 256)
        assert self.handle, error.value

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        code = self.lib.rd_kafka_flush(self.handle, 60_000)
        self.lib.rd_kafka_destroy(self.handle)
        assert kind is not None or code == 0, f"the broker did not confirm: {code}"

    def put(self, topic, value, key=None, headers=(), partition=None):
        """value, key and those of the headers (a dict, or pairs): texts, bytes or None."""
        pairs = headers.items() if isinstance(headers, dict) else headers
        fields = [
            _Field(_TOPIC, _Union(text=topic.encode())),
            _Field(_VALUE, _Union(mem=_Mem(*_bytes(value)))),
            _Field(_KEY, _Union(mem=_Mem(*_bytes(key)))),
            _Field(_MSGFLAGS, _Union(number=_COPY | _BLOCK)),
        ]
        if partition is not None:
            fields.append(_Field(_PARTITION, _Union(i32=partition)))
        for name, text in pairs:
            fields.append(_Field(_HEADER, _Union(header=_Header(name.encode(), *_bytes(text)))))
        array = (_Field * len(fields))(*fields)
        error = self.lib.rd_kafka_produceva(self.handle, array, len(fields))
        assert not error, self.lib.rd_kafka_error_string(error)
        self.lib.rd_kafka_poll(self.handle, 0)


def _bytes(value):
    if value is None:
        return None, 0
    data = value.encode() if isinstance(value, str) else value
    return data, len(data)
