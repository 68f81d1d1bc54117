"""OpenAI's own Python client against `anytime serve`: the address is the first argument."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
messages = [{"role": "user", "content": "3+4="}]

(model,) = client.models.list().data

# The model's weights are random: with some seeds it ends its thinking at once, and on which depends on the processor.
for seed in range(11, 31):
    asked = {"model": model.id, "messages": messages, "seed": seed}
    whole = client.chat.completions.create(**asked, extra_body={"thinking_token_budget": 8})
    message = whole.choices[0].message
    assert message.role == "assistant" and message.content, whole
    if message.model_extra["reasoning"]:
        break
else:
    raise AssertionError(f"no seed has a thinking: {whole}")
assert whole.choices[0].finish_reason in ("stop", "length"), whole
assert 1 <= whole.usage.completion_tokens_details.reasoning_tokens <= 8, whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, whole

pieces, reasoning, usage = [], [], None
with client.chat.completions.create(
    **asked, extra_body={"thinking_token_budget": 8}, stream=True, stream_options={"include_usage": True}
) as stream:
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasoning.append((choice.delta.model_extra or {}).get("reasoning", ""))
assert "".join(pieces).strip() == message.content.strip(), (pieces, message.content)
assert "".join(reasoning) == message.model_extra["reasoning"], (reasoning, message)
assert usage is not None and usage.prompt_tokens == whole.usage.prompt_tokens, usage

# What OpenAI's API does not have passes through its client.
budgets = []
for chunk in client.chat.completions.create(
    **asked, extra_body={"anytime": {"budgets": [2, 6, 12], "summaries": 2}}, stream=True
):
    for choice in chunk.choices:
        if "anytime" in (choice.delta.model_extra or {}):
            budgets.append(choice.delta.model_extra["anytime"]["budget"])
assert budgets == [2, 6, 12], budgets

effort = client.chat.completions.create(**asked, reasoning_effort="low")
assert effort.usage.completion_tokens_details.reasoning_tokens <= 16, effort

# Refusals are its own exceptions, with the field.
try:
    client.chat.completions.create(**asked, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
except openai.BadRequestError as error:
    assert error.param == "tools", error
else:
    raise AssertionError("tools are not served")
try:
    client.chat.completions.create(model="another", messages=messages)
except openai.NotFoundError as error:
    assert "another" in str(error), error
else:
    raise AssertionError("there is one model")

raw = client.chat.completions.with_raw_response.create(**asked)
assert raw.headers["x-request-id"], raw.headers
print("openai", openai.__version__)
