import { gold, instructionSchema } from "../../src/quickstart/task.ts";
import type { RewardFunction } from "../../src/rewards/scorer.ts";

/** The quickstart's checker as a reward: the instruction is the prompt's row. */
const reward: RewardFunction = (_, completion, metadata) =>
  gold(instructionSchema.parse(metadata.instruction), completion, { finished: true });
export default reward;
