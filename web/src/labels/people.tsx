import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call, type Role, type User } from "../ui/api.ts";
import { ConfirmDialog } from "../ui/dialogs.tsx";
import { LinkToSend } from "../ui/link-to-send.tsx";
import { ErrorMessage, Page, Select } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

const roles: readonly (readonly [Role, string])[] = [
  ["labeler", "as in each project"],
  ["owner", "owner of everything"],
];
/** Accounts may have it from before projects had roles of their own. */
const olderRole = ["reviewer", "reviewer where a project sets no role"] as const;

/**
 * Lists all accounts, changes who owns the store, closes accounts and creates password reset links. For owners.
 * @param me id of the signed-in user
 */
export function People({ me }: { me: string }) {
  const client = useQueryClient();
  const all = useQuery({ queryKey: ["users"], queryFn: () => call("GET /api/users") });
  const reset = useMutation({
    mutationFn: async ({ id, name }: User) => ({
      ...(await call("POST /api/users/:user/reset", { params: { user: id } })),
      name,
    }),
  });
  const change = useMutation({
    mutationFn: ({ id, ...body }: { id: string; role?: Role; active?: boolean }) =>
      call("PATCH /api/users/:user", { params: { user: id }, body }),
    onSettled: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  const [asked, setAsked] = useState<User>();
  const button = (action: string, suffix: string, onClick: () => void) => (
    <button key={action} type="button" className="quiet" onClick={onClick}>
      {action} <span className="hidden">{suffix}</span>
    </button>
  );
  return (
    <Page title="People" error={all.error}>
      <Table
        label="People"
        head={["name", "role", "since", "new password", "account"]}
        rows={(all.data ?? []).map((user) => {
          const { id, name, role, active, since } = user;
          const accountOf = `the account of ${name}`;
          return [
            name,
            id === me ? (
              "owner of everything"
            ) : (
              <Select
                key="role"
                label={`Role of ${name}`}
                isLabelHidden
                value={role}
                options={role === "reviewer" ? [olderRole, ...roles] : roles}
                onChange={(role) => change.mutate({ id, role })}
              />
            ),
            new Date(since).toLocaleDateString(),
            active && button("Make a link", `for ${name}`, () => reset.mutate(user)),
            id !== me &&
              (active
                ? button("Close", accountOf, () => setAsked(user))
                : button("Reopen", accountOf, () => change.mutate({ id, active: true }))),
          ];
        })}
      />
      <ErrorMessage error={reset.error ?? change.error} />
      {asked && (
        <ConfirmDialog
          title={`Close the account of ${asked.name}?`}
          text="They are signed out everywhere and cannot sign in. Their answers stay. You can reopen it."
          action="Close it"
          onConfirm={() => change.mutate({ id: asked.id, active: false })}
          onClose={() => setAsked(undefined)}
        />
      )}
      <div className="narrow" role="status">
        {reset.data && (
          <>
            <p>
              For <bdi>{reset.data.name}</bdi>, to choose a new password:
            </p>
            <LinkToSend {...reset.data} />
          </>
        )}
      </div>
    </Page>
  );
}
