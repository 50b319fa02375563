import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { useLocation } from "wouter";
import { call, type User } from "./api.ts";
import { Page, Problem } from "./page.tsx";

const fields = (event: FormEvent<HTMLFormElement>): Record<string, string> => {
  event.preventDefault();
  return Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>;
};

/** Takes what signing in gives. The page that was asked for shows itself then. */
function useArrive() {
  const client = useQueryClient();
  return (user: User) => {
    // What somebody else was shown here is not theirs.
    client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "me" });
    client.setQueryData(["me"], { user });
  };
}

export function SignIn() {
  const arrive = useArrive();
  const enter = useMutation({
    mutationFn: ({ name = "", password = "" }: Record<string, string>) =>
      call("POST /api/login", { body: { name, password } }),
    onSuccess: arrive,
  });
  return (
    <Page title="Sign in">
      <form className="narrow" onSubmit={(event) => enter.mutate(fields(event))}>
        <label>
          Name
          <input name="name" autoComplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <Problem error={enter.error} />
        <button type="submit" disabled={enter.isPending}>
          Sign in
        </button>
      </form>
    </Page>
  );
}

export function Claim({ token, user }: { token: string; user: User | null }) {
  const arrive = useArrive();
  const [, go] = useLocation();
  const found = useQuery({
    queryKey: ["invitation", token],
    queryFn: () => call("GET /api/invitations/:token", { params: { token } }),
  });
  const accept = useMutation({
    mutationFn: ({ name, password }: { name?: string; password?: string }) =>
      call("POST /api/claim", {
        body: { token, ...(name !== undefined && { name }), ...(password !== undefined && { password }) },
      }),
    onSuccess: (user) => {
      arrive(user);
      go("/");
    },
  });
  if (!found.data) return <Page title="Invitation" error={found.error} />;
  const { role, project } = found.data;
  return (
    <Page title={project === null ? "Welcome" : `Welcome to ${project}`}>
      {user ? (
        <div className="narrow">
          <p>You are signed in as {user.name}.</p>
          <Problem error={accept.error} />
          <button type="button" onClick={() => accept.mutate({})}>
            Join
          </button>
        </div>
      ) : (
        <form className="narrow" onSubmit={(event) => accept.mutate(fields(event))}>
          <p>You are invited as {role === "owner" ? "an owner" : `a ${role}`}. Make an account:</p>
          <label>
            Name, as others see it
            <input name="name" autoComplete="username" required maxLength={100} />
          </label>
          <label>
            Password
            <input name="password" type="password" autoComplete="new-password" required minLength={10} />
            <small>At least 10 characters</small>
          </label>
          <Problem error={accept.error} />
          <button type="submit" disabled={accept.isPending}>
            Make the account
          </button>
        </form>
      )}
    </Page>
  );
}
