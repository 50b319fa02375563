import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link } from "wouter";
import { type Body, call, type Token, type User } from "../ui/api.ts";
import { SecretField } from "../ui/link-to-send.tsx";
import { ErrorMessage, Field, Page, Select } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

type Scope = Token["scopes"][number];

const scopeLabels: Record<Scope, string> = {
  read: "read what you may read, and export",
  import: "import tasks",
  label: "fetch tasks and answer them",
  manage: "everything else in projects: settings, guidelines, members, decisions",
};

/** Makes, lists and revokes the user's API tokens; everybody's for owners of the store. */
export function Tokens({ user }: { user: User }) {
  const mine = useQuery({ queryKey: ["tokens"], queryFn: () => call("GET /api/tokens") });
  const isOwner = user.role === "owner";
  const all = useQuery({
    queryKey: ["tokens", "all"],
    queryFn: () => call("GET /api/tokens/all"),
    enabled: isOwner,
  });
  const others = all.data?.filter((token) => token.user.id !== user.id) ?? [];
  return (
    <Page title="Tokens" wide error={mine.error ?? all.error}>
      <p>
        A program sends a token in place of your password: it can do what you can, limited to what you choose
        here. <Link href="/account">Back to your account</Link>
      </p>
      <TokenForm />
      {mine.data && mine.data.length > 0 && (
        <>
          <h2>Your tokens</h2>
          <TokenTable label="Your tokens" tokens={mine.data} />
        </>
      )}
      {others.length > 0 && (
        <>
          <h2>Tokens of others</h2>
          <TokenTable label="Tokens of others" tokens={others} hasUser />
        </>
      )}
    </Page>
  );
}

function TokenForm() {
  const client = useQueryClient();
  const projects = useQuery({ queryKey: ["projects"], queryFn: () => call("GET /api/projects") });
  const [scopes, setScopes] = useState<Scope[]>(["read"]);
  const [project, setProject] = useState("");
  const make = useMutation({
    mutationFn: (body: Body<"POST /api/tokens">) => call("POST /api/tokens", { body }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { name, days } = Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>;
    make.mutate({ name: name ?? "", scopes, days: Number(days), ...(project && { project }) });
  };
  return (
    <>
      {/* The key changes with each success, which resets the form. */}
      <form key={make.isSuccess ? make.submittedAt : 0} className="narrow" onSubmit={submit}>
        <Field label="Name" hint="What uses it: you will see it in the list.">
          <input name="name" required maxLength={100} placeholder="nightly export" />
        </Field>
        <fieldset>
          <legend>It may</legend>
          {(Object.keys(scopeLabels) as Scope[]).map((scope) => (
            <label key={scope}>
              <input
                type="checkbox"
                checked={scopes.includes(scope)}
                onChange={({ target }) =>
                  setScopes(target.checked ? [...scopes, scope] : scopes.filter((other) => other !== scope))
                }
              />
              {scopeLabels[scope]}
            </label>
          ))}
        </fieldset>
        <Select
          label="For use in"
          value={project}
          options={[
            ["", "all of your projects"],
            ...(projects.data ?? []).map(({ id, name }) => [id, name] as const),
          ]}
          onChange={setProject}
        />
        <Field label="Days until it expires" hint="A year at most.">
          <input name="days" type="number" required min={1} max={365} defaultValue={90} />
        </Field>
        <ErrorMessage error={projects.error ?? make.error} />
        <button type="submit" disabled={make.isPending || scopes.length === 0}>
          Make a token
        </button>
      </form>
      <div className="narrow" role="status">
        {make.data && (
          <SecretField
            label={`Copy this token now: it is not shown again. It works until ${new Date(make.data.expires).toLocaleString()}.`}
            secret={make.data.token}
            copyLabel="Copy the token"
          />
        )}
      </div>
    </>
  );
}

function TokenTable({
  label,
  tokens,
  hasUser = false,
}: {
  label: string;
  tokens: readonly Token[];
  hasUser?: boolean;
}) {
  const client = useQueryClient();
  const revoke = useMutation({
    mutationFn: (id: string) => call("DELETE /api/tokens/:id", { params: { id } }),
    onSettled: () => client.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const day = (time: number) => new Date(time).toLocaleDateString();
  return (
    <>
      <Table
        label={label}
        head={[
          ...(hasUser ? ["of"] : []),
          "name",
          "scopes",
          "project",
          "made",
          "last used",
          "expires",
          "revoke",
        ]}
        words={["name", "scopes", "project"]}
        rows={tokens.map(({ id, user, name, scopes, project, created, lastUsed, expires }) => [
          ...(hasUser ? [user.name] : []),
          name,
          scopes.join(", "),
          project?.name ?? "all",
          day(created),
          lastUsed === null ? "never" : new Date(lastUsed).toLocaleString(),
          day(expires),
          <button key="revoke" type="button" className="quiet" onClick={() => revoke.mutate(id)}>
            Revoke <span className="hidden">{name}</span>
          </button>,
        ])}
      />
      <ErrorMessage error={revoke.error} />
    </>
  );
}
