import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { call, type Labeler, type User } from "../ui/api.ts";
import { ErrorMessage } from "../ui/page.tsx";
import { formatAnswer } from "./format-answer.ts";
import { EstimateValue, Statistic, Table } from "./quality.tsx";

/** Details of a labeler: biases, pace, judgements and, for owners of the store, skills and cohort. */
export function LabelerDetails({ id, labeler, isOwner }: { id: string; labeler: Labeler; isOwner: boolean }) {
  const { user, judgements, skipped, left, long, seconds } = labeler;
  const heading = useRef<HTMLHeadingElement>(null);
  // It opens below the table and may be off screen: the focus scrolls to it.
  useEffect(() => heading.current?.focus(), []);
  return (
    <section>
      <h2 ref={heading} tabIndex={-1} dir="auto">
        {user.name}
      </h2>
      <dl className="measures">
        <Statistic name="Answer shown first wins">
          <EstimateValue estimate={left} />
        </Statistic>
        <Statistic name="Longer answer wins">
          <EstimateValue estimate={long} />
        </Statistic>
        <Statistic name="Median seconds">{seconds ?? <small>none yet</small>}</Statistic>
        <Statistic name="Skipped">
          {skipped} of {judgements}
        </Statistic>
        {user.skills.length > 0 && <Statistic name="Skills">{user.skills.join(", ")}</Statistic>}
      </dl>
      <p>
        <small>Shares of comparisons that the answer won, with 95 % intervals: 0.50 is no bias.</small>
      </p>
      <Judgements id={id} labeler={user.id} />
      {isOwner && <SkillsForm id={id} user={user} />}
    </section>
  );
}

function Judgements({ id, labeler }: { id: string; labeler: string }) {
  const [page, setPage] = useState(0);
  const history = useQuery({
    queryKey: ["judgements", id, labeler, page],
    queryFn: () =>
      call("GET /api/projects/:project/labelers/:labeler/judgements/:page", {
        params: { project: id, labeler, page: String(page) },
      }),
    placeholderData: keepPreviousData,
  });
  const { total = 0, perPage = 0, judgements = [] } = history.data ?? {};
  const first = page * perPage + 1;
  return (
    <>
      <h3>Judgements, the newest first</h3>
      <ErrorMessage error={history.error} />
      {history.data && (
        <Table
          label="Judgements, the newest first"
          head={["prompt", "answer", "known answer", "comment", "seconds", "when"]}
          words={["answer", "known answer", "comment"]}
          rows={judgements.map(({ task, prompt, answer, known, right, repeat, seconds, at }) => [
            <Link key="task" href={`/projects/${id}/tasks/${task}`}>
              {prompt || "an empty prompt"}
            </Link>,
            `${formatAnswer(answer)}${repeat ? " (asked again)" : ""}`,
            known && `${formatAnswer(known)}${right === undefined ? "" : right ? ": right" : ": wrong"}`,
            answer.comment,
            String(seconds),
            new Date(at).toLocaleString(),
          ])}
        />
      )}
      {total > perPage && (
        <p className="actions">
          <button type="button" className="quiet" disabled={page === 0} onClick={() => setPage(page - 1)}>
            Newer
          </button>
          <button
            type="button"
            className="quiet"
            disabled={first + perPage > total}
            onClick={() => setPage(page + 1)}
          >
            Older
          </button>
          <span role="status">
            {first} to {Math.min(total, first + perPage - 1)} of {total}
          </span>
        </p>
      )}
    </>
  );
}

/** Form for a labeler's skills and cohort attributes. */
function SkillsForm({ id, user }: { id: string; user: User }) {
  const client = useQueryClient();
  const [skills, setSkills] = useState(user.skills.join(", "));
  const [cohort, setCohort] = useState(
    Object.entries(user.cohort)
      .map(([name, value]) => `${name}: ${value}`)
      .join("\n"),
  );
  const save = useMutation({
    mutationFn: () =>
      call("PATCH /api/users/:user", {
        params: { user: user.id },
        body: {
          skills: skills
            .split(",")
            .map((skill) => skill.trim())
            .filter(Boolean),
          cohort: Object.fromEntries(
            cohort
              .split("\n")
              .map((line) => line.split(":").map((part) => part.trim()))
              .filter(([name, value]) => name && value),
          ),
        },
      }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["labelers", id] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate();
  };
  return (
    <form className="narrow" onSubmit={submit}>
      <h3>Skills and cohort</h3>
      <label>
        Skills, separated by commas
        <input value={skills} onChange={({ target }) => setSkills(target.value)} />
      </label>
      <label>
        Cohort attributes, one on each line
        <textarea
          rows={3}
          value={cohort}
          placeholder={"language: English\nregion: Europe"}
          onChange={({ target }) => setCohort(target.value)}
        />
      </label>
      <ErrorMessage error={save.error} />
      <button type="submit">Save</button>
      {save.isSuccess && <p role="status">Saved.</p>}
    </form>
  );
}
