/** What the engine refused, with the operator's name and what it was given; or why there is no engine. */
export class TensorError extends Error {
  override name = "TensorError";
}
