// The page of a server of answers. Whatever the model writes becomes text and never markup: textContent alone is set.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

// The picture, in its own units.
const WIDTH = 640, HEIGHT = 220, LEFT = 44, RIGHT = 16, TOP = 24, BOTTOM = 30;
const LONGEST_LABEL = 14;

// What the server says of its budgets.
let limits = { budgets: [], max_thinking: 8000, max_summaries: 16 };
let under_way = null;

function headers() {
  const token = at("token").value.trim();
  const shown = { "Content-Type": "application/json" };
  // Kept in the field alone, and gone with the page.
  if (token) shown.Authorization = "Bearer " + token;
  return shown;
}

function show_error(text) {
  at("error").textContent = text;
  at("error").hidden = !text;
}

// What a refusal says, whatever it is.
async function refusal(response) {
  try {
    const message = (await response.json()).error.message;
    if (typeof message === "string") return message;
  } catch { /* said below */ }
  return "the server answers with " + response.status;
}

// From the slider, whose ends are 1 and the largest budget, with small budgets as far apart as large ones.
function budget() {
  return Math.max(1, Math.round(Math.pow(limits.max_thinking, at("budget").value / 100)));
}

// So many budgets up to the largest, evenly apart.
function budgets() {
  const largest = budget(), points = Number(at("points").value);
  const found = new Set();
  for (let point = 1; point <= points; point++) found.add(Math.max(1, Math.round((largest * point) / points)));
  return [...found];
}

function show_budget() {
  at("tokens").textContent = budget().toLocaleString("en") + " tokens";
}

async function read_limits() {
  const response = await fetch("/v1/models", { headers: headers() });
  if (!response.ok) return;
  const model = (await response.json()).data[0];
  at("model").textContent = model.id;
  if (model.anytime) limits = model.anytime;
  for (const option of at("summaries").options) option.disabled = Number(option.value) > limits.max_summaries;
  show_budget();
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(text) {
  const characters = [...text];
  return characters.length > LONGEST_LABEL ? characters.slice(0, LONGEST_LABEL - 1).join("") + "…" : text;
}

// The agreement at each budget so far, with the answer where it is another than before.
function draw(points, largest) {
  const x = (budget) => LEFT + (budget / largest) * (WIDTH - LEFT - RIGHT);
  const y = (share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    parts.push(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(share), y2: y(share) }));
    parts.push(element("text", { x: 6, y: y(share) + 4 }, share.toFixed(1)));
  }
  parts.push(element("text", { x: LEFT, y: HEIGHT - 8 }, "0"));
  parts.push(element("text", { x: WIDTH - RIGHT, y: HEIGHT - 8, "text-anchor": "end" }, largest + " tokens"));
  const line = points.map((point) => x(point.budget) + "," + y(point.agreement)).join(" ");
  parts.push(element("polyline", { points: line }));
  let before = null;
  for (const point of points) {
    parts.push(element("circle", { cx: x(point.budget), cy: y(point.agreement), r: 4 }));
    const answer = point.answer === null ? "—" : String(point.answer);
    if (answer !== before) {
      const anchor = point.budget > largest * 0.8 ? "end" : "middle";
      const place = { x: x(point.budget), y: y(point.agreement) - 9, "text-anchor": anchor };
      parts.push(element("text", place, short(answer)));
    }
    before = answer;
  }
  at("curve").replaceChildren(...parts);
}

function add_row(point) {
  const row = document.createElement("tr");
  const answer = point.answer === null ? "—" : point.answer;
  for (const value of [point.budget, point.thinking_tokens, answer, point.agreement.toFixed(2)]) {
    const cell = document.createElement("td");
    cell.textContent = value;
    row.append(cell);
  }
  at("budgets").append(row);
}

// The events of a stream, one by one.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the answer broke off");
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") return;
      yield JSON.parse(line.slice(6));
    }
  }
}

async function ask() {
  const asked = budgets(), largest = asked[asked.length - 1], points = [];
  const body = {
    messages: [{ role: "user", content: at("question").value }], stream: true,
    anytime: { budgets: asked, summaries: Number(at("summaries").value) },
  };
  under_way = new AbortController();
  const signal = under_way.signal;
  const request = { method: "POST", headers: headers(), body: JSON.stringify(body), signal };
  const response = await fetch("/v1/chat/completions", request);
  if (!response.ok) throw new Error(await refusal(response));
  for (const id of ["answer", "thinking", "summary", "budgets"]) at(id).replaceChildren();
  draw(points, largest);
  at("result").hidden = false;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    const delta = event.choices[0] ? event.choices[0].delta : {};
    const thinking = delta.reasoning || delta.reasoning_content;
    if (thinking) {
      const box = at("thinking"), is_below = box.scrollTop + box.clientHeight + 40 > box.scrollHeight;
      box.append(thinking);
      if (is_below) box.scrollTop = box.scrollHeight;
    }
    if (delta.anytime) {
      const point = delta.anytime;
      points.push(point);
      at("answer").textContent = point.content;
      at("summary").textContent = "at " + point.budget + " tokens, agreement " + point.agreement.toFixed(2);
      add_row(point);
      draw(points, largest);
    }
    if (event.anytime) {
      const why = String(event.anytime.ended).replaceAll("_", " ");
      at("summary").append(" — the thinking ended after " + event.anytime.thinking_tokens + " tokens: " + why);
    }
  }
}

async function submit(event) {
  event.preventDefault();
  if (under_way) return;
  show_error("");
  at("send").disabled = true;
  at("stop").disabled = false;
  try {
    await read_limits();
    await ask();
  } catch (error) {
    if (error.name !== "AbortError") show_error(error.message);
  }
  under_way = null;
  at("send").disabled = false;
  at("stop").disabled = true;
}

at("ask").addEventListener("submit", submit);
at("stop").addEventListener("click", () => under_way && under_way.abort());
at("budget").addEventListener("input", show_budget);
at("token").addEventListener("change", () => read_limits().catch(() => {}));
show_budget();
read_limits().catch(() => {});
