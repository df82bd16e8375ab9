#!/usr/bin/env python3
"""The loop that one would write in Python for the same job, as the bench's other side.

    loop.py BROKER TOPIC GROUP REDIS_URL QDRANT_HOST:GRPC_PORT COLLECTION MODEL_DIR POLLED

Chunk events from Kafka, vectors from Redis or the model, points into Qdrant, and the offsets committed when Qdrant has
acknowledged. Competent and no more: one thread, POLLED records at a time, texts encoded in batches of 32 sorted by length as
sentence-transformers does: the more are polled, the less is padded. No fence, no dead letters, no deletes: those would only slow it down.

The model runs on ONNX Runtime with its default of one thread for each core, without sentence-transformers, which needs
torch (gigabytes from PyPI); tokenizers, pooling and normalisation are the same.
"""
import hashlib
import json
import os
import sys
import uuid

import numpy
import onnxruntime
import redis
from confluent_kafka import Consumer
from qdrant_client import QdrantClient, models
from tokenizers import Tokenizer

BATCH, MAX_TOKENS, DIM = 32, 256, 384


class Model:
    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()  # to the longest of a batch
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])

    def encode(self, texts):
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = [None] * len(texts)
        for start in range(0, len(order), BATCH):
            part = order[start:start + BATCH]
            tokens = self.tokenizer.encode_batch([texts[i] for i in part])
            ids = numpy.array([t.ids for t in tokens], dtype=numpy.int64)
            mask = numpy.array([t.attention_mask for t in tokens], dtype=numpy.int64)
            hidden, = self.session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)})
            weights = mask[:, :, None].astype(numpy.float32)
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            pooled /= numpy.linalg.norm(pooled, axis=1, keepdims=True)
            for i, vector in zip(part, pooled):
                vectors[i] = vector
        return vectors


def main():
    broker, topic, group, redis_url, qdrant, collection, folder, polled = sys.argv[1:]
    model, cache = Model(folder), redis.Redis.from_url(redis_url)
    host, port = qdrant.rsplit(":", 1)
    index = QdrantClient(host=host, grpc_port=int(port), prefer_grpc=True, check_compatibility=False, timeout=60)
    index.create_collection(collection, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while True:
        records = consumer.consume(num_messages=int(polled), timeout=0.1)
        if not records:
            continue
        for r in records:
            if r.error():
                raise SystemExit("loop.py: %s" % r.error())
        events = [json.loads(r.value()) for r in records]
        keys = ["minilm:" + hashlib.sha256(e["text"].encode()).hexdigest() for e in events]
        found = cache.mget(keys)
        missing = [i for i, v in enumerate(found) if v is None]
        vectors = [None if v is None else numpy.frombuffer(v, dtype=numpy.float32) for v in found]
        if missing:
            for i, vector in zip(missing, model.encode([events[i]["text"] for i in missing])):
                vectors[i] = vector
            cache.mset({keys[i]: vectors[i].tobytes() for i in missing})
        index.upsert(collection, wait=True, points=[
            models.PointStruct(id=str(uuid.uuid5(uuid.NAMESPACE_URL, "%s/%s/%s" % (e["source"], e["document_id"], e["chunk_id"]))),
                               vector=v.tolist(), payload={k: e[k] for k in ("source", "document_id", "chunk_id", "text")})
            for e, v in zip(events, vectors)])
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
