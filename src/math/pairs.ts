import { ops, type Tensor } from "../tensor/index.ts";

/** Which pairs are in the right order: 1 where the difference of better and worse is above 0, 0 below, one half for a tie. */
export const shareRight = (differences: Tensor): Tensor => ops.sign(differences).add(1).div(2).to("float32");
