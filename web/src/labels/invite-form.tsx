import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../ui/api.ts";
import { LinkToSend } from "../ui/link-to-send.tsx";
import { ErrorMessage, Select } from "../ui/page.tsx";

const roles = [
  ["labeler", "a labeler"],
  ["reviewer", "a reviewer, who sees everybody's answers"],
  ["owner", "an owner, who can change everything"],
] as const;

/** Creates invitation links to a project. */
export function InviteForm({ id }: { id: string }) {
  const [role, setRole] = useState<(typeof roles)[number][0]>("labeler");
  const client = useQueryClient();
  const invite = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/invitations", { params: { project: id }, body: { role } }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["invitations", id] }),
  });
  return (
    <div className="narrow">
      <Select label="Invite" value={role} options={roles} onChange={setRole} />
      <ErrorMessage error={invite.error} />
      <button type="button" onClick={() => invite.mutate()}>
        Make a link
      </button>
      {invite.data && <LinkToSend {...invite.data} />}
    </div>
  );
}
