"use strict";
const at = (id) => document.getElementById(id);
const forms = [];

function cell(row, text) {
  row.insertCell().textContent = text;
}

function typeOf(schema) {
  const sizes = [];
  let inner = schema;
  for (; inner.type === "array"; inner = inner.items) sizes.push(inner.minItems);
  return { inner, name: [].concat(inner.type).join(" or ") + (sizes.length ? ` [${sizes.join(", ")}]` : "") };
}

function valuesOf(schema) {
  if (schema.enum) return schema.enum.join(", ");
  const low = schema.minimum, high = schema.maximum;
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  return low !== undefined ? `at least ${low}` : high !== undefined ? `at most ${high}` : "";
}

function choose() {
  const form = forms[at("form").selectedIndex];
  at("path").textContent = `POST ${form.path}`;
  const text = JSON.stringify(form.value, null, 2);
  at("request").value = text.length < 4000 ? text : JSON.stringify(form.value);
}

async function send() {
  at("status").textContent = "…";
  const began = performance.now();
  try {
    const answer = await fetch(forms[at("form").selectedIndex].path.slice(1), {
      method: "POST", headers: { "content-type": "application/json" }, body: at("request").value,
    });
    const text = await answer.text();
    at("status").textContent = `${answer.status} in ${Math.round(performance.now() - began)} ms`;
    try { at("answer").textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { at("answer").textContent = text; }
  } catch (error) {
    at("status").textContent = String(error);
  }
}

async function start() {
  const api = await (await fetch("openapi.json")).json();
  document.title = at("title").textContent = api.info.title;
  at("about").textContent = api.info.description;
  for (const [name, schema] of Object.entries(api.components.schemas.Row.properties)) {
    const row = at("columns").insertRow(), { inner, name: type } = typeOf(schema);
    for (const text of [name, type, valuesOf(inner), schema.description || ""]) cell(row, text);
  }
  for (const [path, item] of Object.entries(api.paths)) {
    if (!item.post) continue;
    const examples = item.post.requestBody.content["application/json"].examples || { empty: { value: {} } };
    for (const [name, example] of Object.entries(examples)) {
      forms.push({ path, value: example.value });
      at("form").add(new Option(`${item.post.summary}: ${name}`));
    }
  }
  at("form").addEventListener("change", choose);
  at("send").addEventListener("click", send);
  choose();
}

start();
