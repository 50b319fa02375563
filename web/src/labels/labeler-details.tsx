import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { call, type User } from "../ui/api.ts";
import { Problem } from "../ui/page.tsx";
import { saying } from "./format-answer.ts";
import { Table } from "./quality.tsx";

/** A labeler looked at more closely. */
export function Person({ id, user, isOwner }: { id: string; user: User; isOwner: boolean }) {
  const heading = useRef<HTMLHeadingElement>(null);
  // It opens below the table, perhaps out of sight.
  useEffect(() => heading.current?.focus(), []);
  return (
    <section>
      <h2 ref={heading} tabIndex={-1} dir="auto">
        {user.name}
      </h2>
      <Judgements id={id} labeler={user.id} />
      {isOwner && <Traits id={id} user={user} />}
    </section>
  );
}

function Judgements({ id, labeler }: { id: string; labeler: string }) {
  const [page, setPage] = useState(0);
  const found = useQuery({
    queryKey: ["judgements", id, labeler, page],
    queryFn: () =>
      call("GET /api/projects/:project/labelers/:labeler/judgements/:page", {
        params: { project: id, labeler, page: String(page) },
      }),
    placeholderData: keepPreviousData,
  });
  const { total = 0, perPage = 0, judgements = [] } = found.data ?? {};
  const first = page * perPage + 1;
  return (
    <>
      <h3>Judgements, the newest first</h3>
      <Problem error={found.error} />
      {found.data && (
        <Table
          label="Judgements, the newest first"
          head={["prompt", "answer", "known answer", "comment", "seconds", "when"]}
          words={["answer", "known answer", "comment"]}
          rows={judgements.map(({ task, prompt, answer, known, right, repeat, seconds, at }) => [
            <Link key="task" href={`/projects/${id}/tasks/${task}`}>
              {prompt || "an empty prompt"}
            </Link>,
            `${saying(answer)}${repeat ? " (asked again)" : ""}`,
            known && `${saying(known)}${right === undefined ? "" : right ? ": right" : ": wrong"}`,
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

/** What an owner knows of a labeler. */
function Traits({ id, user }: { id: string; user: User }) {
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
        Cohort, one a line
        <textarea
          rows={3}
          value={cohort}
          placeholder={"language: English\nregion: Europe"}
          onChange={({ target }) => setCohort(target.value)}
        />
      </label>
      <Problem error={save.error} />
      <button type="submit">Save</button>
      {save.isSuccess && <p role="status">Saved.</p>}
    </form>
  );
}
