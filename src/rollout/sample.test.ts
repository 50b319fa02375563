import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completeAll } from "../http/endpoint.ts";
import { type Candidate, chooseDiverse, similarity } from "./diverse.ts";

const candidate = (text: string, model = "m"): Candidate => ({ text, model, temperature: 1, seed: 0 });
const texts = (chosen: Candidate[]) => chosen.map(({ text }) => text);

describe("choosing different completions", () => {
  it("leaves out empty ones, and those that differ only in case or white space", () => {
    expect(
      texts(
        chooseDiverse(
          ["a b", "", " A  b\n", "c d"].map((text) => candidate(text)),
          4,
        ),
      ),
    ).toEqual(["a b", "c d"]);
  });

  it("takes the farthest first", () => {
    const all = [
      "the cat sat on the mat",
      "the cat sat on the rug",
      "no answer to that",
      "the cat sat on a mat",
    ];
    expect(
      texts(
        chooseDiverse(
          all.map((text) => candidate(text)),
          2,
        ),
      ),
    ).toEqual([all[0], all[2]]);
  });

  it("takes from each model in turn", () => {
    const all = [
      candidate("a a", "x"),
      candidate("b b", "x"),
      candidate("a a a", "y"),
      candidate("c c", "x"),
    ];
    expect(chooseDiverse(all, 3).map(({ model }) => model)).toEqual(["x", "y", "x"]);
  });

  it("measures common word pairs", () => {
    // Pairs: {a b, b c} and {b c, c d}: one of three.
    expect(similarity("a b c", "b c d")).toBeCloseTo(1 / 3, 12);
    expect(similarity("one", "One ")).toBe(1);
    expect(similarity("", "x")).toBe(0);
  });
});

describe("an OpenAI-compatible server", () => {
  let server: Server;
  let url = "";
  let requests: {
    body: { messages: { content: string }[]; temperature: number; seed: number };
    key: string | undefined;
  }[] = [];
  let answer: (prompt: string, count: number) => { status: number; body: string } | "hang";
  beforeAll(async () => {
    server = createServer((request, response) => {
      let text = "";
      request.on("data", (part) => {
        text += part;
      });
      request.on("end", () => {
        const body = JSON.parse(text);
        requests.push({ body, key: request.headers.authorization });
        const found = answer(body.messages[0].content, requests.length);
        if (found === "hang") return;
        response.writeHead(found.status, { "content-type": "application/json" }).end(found.body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const completionOf = (content: string) => ({
    status: 200,
    body: JSON.stringify({ choices: [{ message: { content } }] }),
  });
  const asked = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      prompt: [{ role: "user" as const, content: `p${i}` }],
      temperature: 0.5,
      seed: i,
    }));
  const ask = (count: number, options: object = {}) => {
    requests = [];
    return completeAll(asked(count), { url, model: "m", key: "secret", maxTokens: 5, ...options });
  };

  it("returns answers in the order of the requests, and retries when the server is busy", async () => {
    answer = (prompt, count) =>
      count % 5 === 0 ? { status: 429, body: "busy" } : completionOf(`to ${prompt}`);
    expect(await ask(20)).toEqual(Array.from({ length: 20 }, (_, i) => `to p${i}`));
    expect(requests[0]).toMatchObject({
      key: "Bearer secret",
      body: { model: "m", temperature: 0.5, max_tokens: 5, seed: 0 },
    });
  });

  it("reports errors, and retries only temporary ones", async () => {
    answer = () => ({ status: 401, body: "wrong key" });
    await expect(ask(1)).rejects.toThrow(/answers 401: wrong key/);
    expect(requests).toHaveLength(1);
    answer = () => ({ status: 503, body: "down" });
    await expect(ask(1)).rejects.toThrow(/answers 503: down/);
    expect(requests).toHaveLength(4);
    answer = () => ({ status: 200, body: "<html>" });
    await expect(ask(1)).rejects.toThrow(/not a chat completion: <html>/);
    await expect(ask(1, { url: "http://127.0.0.1:9" })).rejects.toThrow(/cannot be reached/);
    answer = () => "hang";
    await expect(ask(1, { timeoutSeconds: 0.05 })).rejects.toThrow(/did not answer in 0.05 s/);
  });

  it("ends the other requests when one is refused, so that the program can exit", async () => {
    let closed = 0;
    server.on("request", (_, response) => response.on("close", () => closed++));
    answer = (_, count) => (count === 8 ? { status: 401, body: "wrong key" } : "hang");
    await expect(ask(8, { timeoutSeconds: 60 })).rejects.toThrow(/answers 401/);
    await expect.poll(() => closed).toBe(8);
  });
});
