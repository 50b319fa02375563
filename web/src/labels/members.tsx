import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call, type Member, type Role } from "../ui/api.ts";
import { ConfirmDialog } from "../ui/dialogs.tsx";
import { ErrorMessage, Select } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

const roles = (["labeler", "reviewer", "owner"] as const).map((role) => [role, role] as const);

/** Lists a project's members, changes their roles and removes them. For its owners. @param me id of the signed-in user */
export function Members({ id, me }: { id: string; me: string }) {
  const client = useQueryClient();
  const members = useQuery({
    queryKey: ["members", id],
    queryFn: () => call("GET /api/projects/:project/members", { params: { project: id } }),
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["members", id] });
  const change = useMutation({
    mutationFn: ({ user, role }: { user: string; role: Role }) =>
      call("PATCH /api/projects/:project/members/:user", { params: { project: id, user }, body: { role } }),
    onSettled: refresh,
  });
  const remove = useMutation({
    mutationFn: (user: string) =>
      call("DELETE /api/projects/:project/members/:user", { params: { project: id, user } }),
    onSettled: refresh,
  });
  const [asked, setAsked] = useState<Member>();
  if (!members.data?.length) return <ErrorMessage error={members.error} />;
  return (
    <>
      <h3>Members</h3>
      <Table
        label="Members"
        head={["name", "role", "remove"]}
        rows={members.data.map((member) => [
          `${member.name}${member.active ? "" : " (account closed)"}`,
          member.id === me ? (
            member.role
          ) : (
            <Select
              key="role"
              label={`Role of ${member.name}`}
              isLabelHidden
              value={member.role}
              options={roles}
              onChange={(role) => change.mutate({ user: member.id, role })}
            />
          ),
          member.id !== me && (
            <button key="remove" type="button" className="quiet" onClick={() => setAsked(member)}>
              Remove <span className="hidden">{member.name}</span>
            </button>
          ),
        ])}
      />
      <ErrorMessage error={change.error ?? remove.error} />
      {asked && (
        <ConfirmDialog
          title={`Remove ${asked.name} from this project?`}
          text="Their answers stay. Tasks reserved for them, and drafts, are given up."
          action="Remove"
          onConfirm={() => remove.mutate(asked.id)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </>
  );
}

/** Lists a project's open invitations and revokes them. For its owners. */
export function Invitations({ id }: { id: string }) {
  const client = useQueryClient();
  const invitations = useQuery({
    queryKey: ["invitations", id],
    queryFn: () => call("GET /api/projects/:project/invitations", { params: { project: id } }),
  });
  const revoke = useMutation({
    mutationFn: (invitation: string) =>
      call("DELETE /api/projects/:project/invitations/:invitation", { params: { project: id, invitation } }),
    onSettled: () => client.invalidateQueries({ queryKey: ["invitations", id] }),
  });
  const error = <ErrorMessage error={invitations.error ?? revoke.error} />;
  if (!invitations.data?.length) return error;
  return (
    <>
      <h3>Open invitations</h3>
      <Table
        label="Open invitations"
        head={["role", "made by", "until", "revoke"]}
        words={["made by"]}
        rows={invitations.data.map(({ id, role, by, expires }) => {
          const until = new Date(expires).toLocaleString();
          return [
            role,
            by,
            until,
            <button key="revoke" type="button" className="quiet" onClick={() => revoke.mutate(id)}>
              Revoke <span className="hidden">{`the invitation of a ${role} until ${until}`}</span>
            </button>,
          ];
        })}
      />
      {error}
    </>
  );
}
