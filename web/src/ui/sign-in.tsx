import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { Link, useLocation } from "wouter";
import { call, type User } from "./api.ts";
import { ErrorMessage, Page } from "./page.tsx";

const formFields = (event: FormEvent<HTMLFormElement>): Record<string, string> => {
  event.preventDefault();
  return Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>;
};

/** Returns a function that starts the session of a user who has signed in. The requested page is shown then. */
function useStartSession() {
  const client = useQueryClient();
  return (user: User) => {
    // Cached data may belong to another user who was signed in before.
    client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "me" });
    client.setQueryData(["me"], { user });
  };
}

export function SignIn() {
  const startSession = useStartSession();
  const signIn = useMutation({
    mutationFn: ({ name = "", password = "" }: Record<string, string>) =>
      call("POST /api/login", { body: { name, password } }),
    onSuccess: startSession,
  });
  return (
    <Page title="Sign in">
      <form className="narrow" onSubmit={(event) => signIn.mutate(formFields(event))}>
        <label>
          Name
          <input name="name" autoComplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <ErrorMessage error={signIn.error} />
        <button type="submit" disabled={signIn.isPending}>
          Sign in
        </button>
        <small>Forgot your password? An owner can send you a link to choose a new one.</small>
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

export function ClaimInvitation({ token, user }: { token: string; user: User | null }) {
  const startSession = useStartSession();
  const [, navigate] = useLocation();
  const invitation = useQuery({
    queryKey: ["invitation", token],
    queryFn: () => call("GET /api/invitations/:token", { params: { token } }),
  });
  const accept = useMutation({
    mutationFn: ({ name, password }: { name?: string; password?: string }) =>
      call("POST /api/claim", {
        body: { token, ...(name !== undefined && { name }), ...(password !== undefined && { password }) },
      }),
    onSuccess: (user) => {
      startSession(user);
      navigate("/");
    },
  });
  if (!invitation.data) return <Page title="Invitation" error={invitation.error} />;
  const { role, project } = invitation.data;
  const invited = `You are invited as ${role === "owner" ? "an owner" : `a ${role}`}.`;
  return (
    <Page title={project === null ? "Welcome" : `Welcome to ${project}`}>
      {user ? (
        <div className="narrow">
          <p>
            {invited} You are signed in as <bdi>{user.name}</bdi>.
          </p>
          <ErrorMessage error={accept.error} />
          <button type="button" onClick={() => accept.mutate({})}>
            Join
          </button>
        </div>
      ) : (
        <form className="narrow" onSubmit={(event) => accept.mutate(formFields(event))}>
          <p>{invited} Create an account:</p>
          <label>
            Name, as others see it
            <input name="name" autoComplete="username" required maxLength={100} />
          </label>
          <NewPassword label="Password" />
          <ErrorMessage error={accept.error} />
          <button type="submit" disabled={accept.isPending}>
            Make the account
          </button>
        </form>
      )}
    </Page>
  );
}

/** Page of a password reset link: choose a new password. */
export function ResetPassword({ token }: { token: string }) {
  const startSession = useStartSession();
  const [, navigate] = useLocation();
  const reset = useQuery({
    queryKey: ["reset", token],
    queryFn: () => call("GET /api/resets/:token", { params: { token } }),
  });
  const setPassword = useMutation({
    mutationFn: ({ password = "" }: Record<string, string>) =>
      call("POST /api/reset", { body: { token, password } }),
    onSuccess: (user) => {
      startSession(user);
      navigate("/");
    },
  });
  if (!reset.data) return <Page title="New password" error={reset.error} />;
  return (
    <Page title="New password">
      <form className="narrow" onSubmit={(event) => setPassword.mutate(formFields(event))}>
        <p>
          For <bdi>{reset.data.name}</bdi>.
        </p>
        <NewPassword label="New password" />
        <ErrorMessage error={setPassword.error} />
        <button type="submit" disabled={setPassword.isPending}>
          Set password
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
      {/* The key changes with each success, which resets the form. */}
      <form
        key={change.isSuccess ? change.submittedAt : 0}
        className="narrow"
        onSubmit={(event) => change.mutate(formFields(event))}
      >
        <label>
          Old password
          <input name="before" type="password" autoComplete="current-password" required />
        </label>
        <NewPassword label="New password" />
        <ErrorMessage error={change.error} />
        <button type="submit" disabled={change.isPending}>
          Change
        </button>
      </form>
      <p role="status">{change.isSuccess && "Changed. You are signed out on all other devices."}</p>
      <h2>Tokens</h2>
      <p>
        For programs that work with your projects: <Link href="/account/tokens">your tokens</Link>
      </p>
    </Page>
  );
}
