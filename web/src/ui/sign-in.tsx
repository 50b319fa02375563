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
        <small>Forgot it? An owner can send you a link to choose another.</small>
      </form>
    </Page>
  );
}

const NewPassword = ({ label }: { label: string }) => (
  <label>
    {label}
    <input name="password" type="password" autoComplete="new-password" required minLength={10} />
    <small>At least 10 characters</small>
  </label>
);

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
          <NewPassword label="Password" />
          <Problem error={accept.error} />
          <button type="submit" disabled={accept.isPending}>
            Make the account
          </button>
        </form>
      )}
    </Page>
  );
}

/** Where an owner's link leads who has forgotten a password. */
export function Reset({ token }: { token: string }) {
  const arrive = useArrive();
  const [, go] = useLocation();
  const found = useQuery({
    queryKey: ["reset", token],
    queryFn: () => call("GET /api/resets/:token", { params: { token } }),
  });
  const choose = useMutation({
    mutationFn: ({ password = "" }: Record<string, string>) =>
      call("POST /api/reset", { body: { token, password } }),
    onSuccess: (user) => {
      arrive(user);
      go("/");
    },
  });
  if (!found.data) return <Page title="New password" error={found.error} />;
  return (
    <Page title="New password">
      <form className="narrow" onSubmit={(event) => choose.mutate(fields(event))}>
        <p>
          For <bdi>{found.data.name}</bdi>.
        </p>
        <NewPassword label="New password" />
        <Problem error={choose.error} />
        <button type="submit" disabled={choose.isPending}>
          Choose it
        </button>
      </form>
    </Page>
  );
}

export function Account({ user }: { user: User }) {
  const change = useMutation({
    mutationFn: ({ before = "", password = "" }: Record<string, string>) =>
      call("POST /api/password", { body: { before, after: password } }),
  });
  return (
    <Page title={user.name}>
      <h2>Change the password</h2>
      {/* Drawn anew, and so empty, once it is changed. */}
      <form
        key={change.isSuccess ? change.submittedAt : 0}
        className="narrow"
        onSubmit={(event) => change.mutate(fields(event))}
      >
        <label>
          Old password
          <input name="before" type="password" autoComplete="current-password" required />
        </label>
        <NewPassword label="New password" />
        <Problem error={change.error} />
        <button type="submit" disabled={change.isPending}>
          Change
        </button>
      </form>
      <p role="status">{change.isSuccess && "Changed. Everywhere else you are signed out."}</p>
    </Page>
  );
}
