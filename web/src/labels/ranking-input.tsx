import {
  closestCenter,
  DndContext,
  type DragEndEvent,
  KeyboardSensor,
  PointerSensor,
  useDraggable,
  useDroppable,
  useSensor,
  useSensors,
} from "@dnd-kit/core";
import { CSS } from "@dnd-kit/utilities";
import { dense, letters, move } from "./draft.ts";

type Rank = number | null;

/** Where something can be dropped: on a completion, to be level with it, or in a gap between levels. */
interface Spot {
  id: string;
  /** What is dropped there gets this one; see `move`. */
  rank: Rank;
  completion?: number;
}

/** All spots from the best place to the worst. Those without a rank stand behind. */
function spotsOf(ranks: readonly Rank[]): Spot[] {
  const last = Math.max(0, ...ranks.map(Number));
  const level = (rank: Rank) =>
    ranks.flatMap((own, i): Spot[] =>
      own === rank ? [{ id: spotOf(letters[i]), rank, completion: i }] : [],
    );
  const gap = (above: number): Spot => ({ id: `place ${above + 1}`, rank: above + 0.5 });
  const levels = Array.from({ length: last }, (_, above) => [gap(above), ...level(above + 1)]);
  return [...levels.flat(), gap(last), ...level(null)];
}

/** Read out while something is above it. */
const spotOf = (letter: unknown): string => `level with ${letter}`;

/** The ranking as a row of letters to be dragged, the best first. Ties stay, but for what is dragged. */
export function Order({
  ranks: given,
  onChange,
}: {
  ranks: readonly Rank[];
  onChange: (ranks: Rank[]) => void;
}) {
  const ranks = dense(given);
  const spots = spotsOf(ranks);
  const sensors = useSensors(
    useSensor(PointerSensor, { activationConstraint: { distance: 4 } }),
    useSensor(KeyboardSensor, {
      // From spot to spot.
      coordinateGetter: ({ code }, { active, context: { over, droppableRects, collisionRect } }) => {
        const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[code] ?? 0;
        const at = spots.findIndex(({ id }) => id === (over?.id ?? spotOf(active)));
        const rect = droppableRects.get(spots[at + step]?.id ?? "");
        if (!step || !rect || !collisionRect) return undefined;
        return {
          x: rect.left + (rect.width - collisionRect.width) / 2,
          y: rect.top + (rect.height - collisionRect.height) / 2,
        };
      },
    }),
  );
  const drop = ({ active, over }: DragEndEvent) => {
    const spot = spots.find(({ id }) => id === over?.id);
    if (spot && spot.id !== spotOf(active.id))
      onChange(move(ranks, letters.indexOf(String(active.id)), spot.rank));
  };
  return (
    <div className="order">
      <span id="order-label">
        Best first. Drag between others, or onto one for a tie; or press a letter after the other, = for a
        tie.
      </span>
      <DndContext sensors={sensors} collisionDetection={closestCenter} onDragEnd={drop}>
        <ol aria-labelledby="order-label">
          {spots.map(({ id, rank, completion }) =>
            completion === undefined ? (
              <Gap key={id} id={id} />
            ) : (
              <Chip key={id} {...{ id, rank, letter: letters[completion] as string }} />
            ),
          )}
        </ol>
      </DndContext>
    </div>
  );
}

function Gap({ id }: { id: string }) {
  const { setNodeRef, isOver } = useDroppable({ id });
  return <li ref={setNodeRef} className={isOver ? "gap over" : "gap"} aria-hidden="true" />;
}

function Chip({ id, rank, letter }: { id: string; rank: Rank; letter: string }) {
  const { setNodeRef, isOver } = useDroppable({ id });
  const drag = useDraggable({ id: letter });
  return (
    <li ref={setNodeRef} className={rank === null ? "" : "ranked"}>
      <button
        ref={drag.setNodeRef}
        type="button"
        className={isOver && !drag.isDragging ? "chip over" : "chip"}
        style={{ transform: CSS.Translate.toString(drag.transform) }}
        {...drag.attributes}
        {...drag.listeners}
        aria-label={`Answer ${letter}, move`}
      >
        {letter}
        <small>{rank ?? "–"}</small>
      </button>
    </li>
  );
}
