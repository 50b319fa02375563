import { QueryCache, QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Link, Redirect, Route, Router, Switch } from "wouter";
import { Disputes } from "./labels/disputes.tsx";
import { LabelPage } from "./labels/label.tsx";
import { Labelers } from "./labels/labelers.tsx";
import { People } from "./labels/people.tsx";
import { Projects } from "./labels/projects.tsx";
import { Qualification } from "./labels/qualification.tsx";
import { QualityPage } from "./labels/quality.tsx";
import { NewProject, ProjectSettings } from "./labels/settings.tsx";
import { TaskPage } from "./labels/task.tsx";
import { Tokens } from "./labels/tokens.tsx";
import { ApiError, basePath, call, type User } from "./ui/api.ts";
import { Page } from "./ui/page.tsx";
import { clearStored } from "./ui/persistent-state.ts";
import { Account, ClaimInvitation, ResetPassword, SignIn } from "./ui/sign-in.tsx";
import "./ui/style.css";
import "./ui/table.css";
import "./labels/label.css";
import "./ui/text.css";
import "./ui/touch.css";

const client: QueryClient = new QueryClient({
  queryCache: new QueryCache({
    // The session has ended: show the sign-in page, and this page again after signing in.
    onError: (error) => {
      if (error instanceof ApiError && error.status === 401) client.setQueryData(["me"], { user: null });
    },
  }),
  defaultOptions: {
    queries: {
      // Retry only if the server could not be reached: an error response would be the same again.
      retry: (count, error) => count < 2 && !(error instanceof ApiError && error.status > 0),
      refetchOnWindowFocus: false,
    },
  },
});

function App() {
  const me = useQuery({ queryKey: ["me"], queryFn: () => call("GET /api/me") });
  if (me.isPending) return null;
  if (!me.data)
    return (
      <Page title="Not reachable" error={me.error}>
        <button type="button" onClick={() => me.refetch()}>
          Try again
        </button>
      </Page>
    );
  const { user } = me.data;
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Header user={user} />
      <Switch>
        <Route path="/claim/:token">{({ token }) => <ClaimInvitation token={token} user={user} />}</Route>
        <Route path="/reset/:token">{({ token }) => <ResetPassword token={token} />}</Route>
        <Route path="/login">{user ? <Redirect to="/" /> : <SignIn />}</Route>
        {user ? null : (
          <Route>
            <SignIn />
          </Route>
        )}
        <Route path="/">{user && <Projects user={user} />}</Route>
        <Route path="/account">{user && <Account user={user} />}</Route>
        <Route path="/account/tokens">{user && <Tokens user={user} />}</Route>
        <Route path="/people">{user && <People me={user.id} />}</Route>
        <Route path="/projects/new">
          <NewProject />
        </Route>
        <Route path="/projects/:id">{({ id }) => <Qualification id={id} />}</Route>
        <Route path="/projects/:id/settings/:tab?">
          {({ id, tab }) => user && <ProjectSettings key={id} id={id} me={user.id} tab={tab} />}
        </Route>
        <Route path="/projects/:id/label">{({ id }) => <LabelPage id={id} />}</Route>
        <Route path="/projects/:id/quality">{({ id }) => <QualityPage id={id} />}</Route>
        <Route path="/projects/:id/labelers">
          {({ id }) => <Labelers id={id} isOwner={user?.role === "owner"} />}
        </Route>
        <Route path="/projects/:id/tasks/:task">
          {({ id, task }) => <TaskPage key={task} id={id} task={task} />}
        </Route>
        <Route path="/projects/:id/disputes">{({ id }) => <Disputes id={id} />}</Route>
        <Route>
          <Page title="Page not found">
            <Link href="/">To the projects</Link>
          </Page>
        </Route>
      </Switch>
    </>
  );
}

function Header({ user }: { user: User | null }) {
  const signOut = async () => {
    await call("POST /api/logout");
    client.clear();
    // Unsaved drafts are not for the next person at this computer.
    clearStored();
    location.assign(`${basePath}/login`);
  };
  return (
    <header className="top">
      <Link href="/" className="brand">
        plumbline
      </Link>
      {user && (
        <div className="who">
          <Link href="/account" dir="auto" title={user.name}>
            {user.name}
          </Link>
          <button type="button" className="quiet" onClick={signOut}>
            Sign out
          </button>
        </div>
      )}
    </header>
  );
}

createRoot(document.getElementById("app") as HTMLElement).render(
  <StrictMode>
    <QueryClientProvider client={client}>
      <Router base={basePath}>
        <App />
      </Router>
    </QueryClientProvider>
  </StrictMode>,
);
