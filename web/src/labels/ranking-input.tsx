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
import { denseRanks, letters, moveToRank } from "./draft.ts";

type Rank = number | null;

/** Where a completion can be dropped: on another one, to tie with it, or in a gap between ranks. */
interface DropTarget {
  id: string;
  /** Rank of what is dropped there: see `moveToRank`. */
  rank: Rank;
  completion?: number;
}

/** Lists all drop targets from best to worst; unranked completions come last. */
function dropTargets(ranks: readonly Rank[]): DropTarget[] {
  const last = Math.max(0, ...ranks.map(Number));
  const tied = (rank: Rank) =>
    ranks.flatMap((other, i): DropTarget[] =>
      other === rank ? [{ id: targetId(letters[i]), rank, completion: i }] : [],
    );
  const gap = (above: number): DropTarget => ({ id: `place ${above + 1}`, rank: above + 0.5 });
  const ranked = Array.from({ length: last }, (_, above) => [gap(above), ...tied(above + 1)]);
  return [...ranked.flat(), gap(last), ...tied(null)];
}

/** Id of a completion's drop target. Screen readers announce it while a completion is dragged over it. */
const targetId = (letter: unknown): string => `tied with ${letter}`;

/** Shows the ranking as a row of draggable letters, best first. Dragging one keeps the ties of the others. */
export function RankingInput({
  ranks: draftRanks,
  onChange,
}: {
  ranks: readonly Rank[];
  onChange: (ranks: Rank[]) => void;
}) {
  const ranks = denseRanks(draftRanks);
  const targets = dropTargets(ranks);
  const sensors = useSensors(
    useSensor(PointerSensor, { activationConstraint: { distance: 4 } }),
    useSensor(KeyboardSensor, {
      // Arrow keys move from target to target.
      coordinateGetter: ({ code }, { active, context: { over, droppableRects, collisionRect } }) => {
        const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[code] ?? 0;
        const current = targets.findIndex(({ id }) => id === (over?.id ?? targetId(active)));
        const rect = droppableRects.get(targets[current + step]?.id ?? "");
        if (!step || !rect || !collisionRect) return undefined;
        return {
          x: rect.left + (rect.width - collisionRect.width) / 2,
          y: rect.top + (rect.height - collisionRect.height) / 2,
        };
      },
    }),
  );
  const drop = ({ active, over }: DragEndEvent) => {
    const target = targets.find(({ id }) => id === over?.id);
    if (target && target.id !== targetId(active.id))
      onChange(moveToRank(ranks, letters.indexOf(String(active.id)), target.rank));
  };
  return (
    <div className="order">
      <span id="order-label">
        Best first. Drag an answer between others, or onto another for a tie.
        <span className="keyboard">
          {" "}
          Or press the letters from best to worst, with = before a letter for a tie.
        </span>
      </span>
      <DndContext sensors={sensors} collisionDetection={closestCenter} onDragEnd={drop}>
        <ol aria-labelledby="order-label">
          {targets.map(({ id, rank, completion }) =>
            completion === undefined ? (
              <Gap key={id} id={id} />
            ) : (
              <Chip key={id} id={id} rank={rank} letter={letters[completion] as string} />
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
