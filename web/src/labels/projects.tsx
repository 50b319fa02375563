import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { call, type Project, type User } from "../ui/api.ts";
import { Page } from "../ui/page.tsx";

export function Projects({ user }: { user: User }) {
  const all = useQuery({ queryKey: ["projects"], queryFn: () => call("GET /api/projects") });
  const archived = (all.data ?? []).filter(({ archived }) => archived);
  return (
    <Page title="Projects" error={all.error}>
      {user.role === "owner" && (
        <p>
          <Link href="/projects/new" className="button">
            New project
          </Link>{" "}
          <Link href="/people">People</Link>
        </p>
      )}
      {all.data?.length === 0 && (
        <p>{user.role === "owner" ? "There is none yet." : "You are in none yet: ask for an invitation."}</p>
      )}
      <Cards projects={(all.data ?? []).filter(({ archived }) => !archived)} />
      {archived.length > 0 && (
        <details>
          <summary>Archived ({archived.length})</summary>
          <Cards projects={archived} />
        </details>
      )}
    </Page>
  );
}

const Cards = ({ projects }: { projects: readonly Project[] }) => (
  <ul className="cards">
    {projects.map(({ id, name, role, settings, tasks, complete, mine }) => (
      <li key={id}>
        <h2 dir="auto">
          <Link href={`/projects/${id}`}>{name}</Link>
        </h2>
        <p className="facts">
          {settings.kind} · {complete} of {tasks} tasks done · {mine} by you
        </p>
        <progress value={complete} max={Math.max(1, tasks)} aria-label={`Tasks done in ${name}`} />
        {role !== "labeler" && (
          <p>
            <Link href={`/projects/${id}/settings`}>Set up</Link> ·{" "}
            <Link href={`/projects/${id}/quality`}>Quality</Link>
          </p>
        )}
      </li>
    ))}
  </ul>
);
