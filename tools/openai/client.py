"""What users of the OpenAI client do, against the service at sys.argv[1]; prints what they get as JSON.

cmd/chunktide/openai_test.go runs it and compares the vectors with the encoder's own.
"""
import json
import sys

import openai

url, model, key = sys.argv[1:4]
texts = json.load(sys.stdin)
client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)


def failure(call):
    try:
        call()
    except openai.APIStatusError as e:
        return {"class": type(e).__name__, "status": e.status_code, "code": e.code, "param": e.param, "message": e.message}
    return None


raw = client.embeddings.with_raw_response.create(model=model, input=texts)
default = raw.parse()  # the client asks for base64 and decodes it
decimal = client.embeddings.create(model=model, input=texts, encoding_format="float")
documents = client.embeddings.create(model=model, input=texts, extra_body={"input_type": "document"})
wrong = openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0)
print(json.dumps({
    "version": raw.headers.get("chunktide-model-version"),
    "model": default.model,
    "tokens": default.usage.prompt_tokens,
    "default": [d.embedding for d in default.data],
    "float": [d.embedding for d in decimal.data],
    "documents": [d.embedding for d in documents.data],
    "single": client.embeddings.create(model=model, input=texts[0]).data[0].embedding,
    "models": [m.id for m in client.models.list()],
    "retrieved": client.models.retrieve(model).id,
    "no_model": failure(lambda: client.embeddings.create(model="nonsense", input="x")),
    "no_input": failure(lambda: client.embeddings.create(model=model, input=[])),
    "no_key": failure(lambda: wrong.embeddings.create(model=model, input="x")),
    "by_tokens": [d.embedding for d in client.embeddings.create(model=model, input=[[101, 7592, 102], [101, 2088, 102]]).data],
}))
