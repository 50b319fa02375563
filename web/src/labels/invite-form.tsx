import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../ui/api.ts";
import { LinkToSend } from "../ui/link-to-send.tsx";
import { Choose, Problem } from "../ui/page.tsx";

const roles = [
  ["labeler", "a labeler"],
  ["reviewer", "a reviewer, who sees everybody's answers"],
  ["owner", "an owner, who can change everything"],
] as const;

/** Makes links for people who are to work on a project. */
export function Invite({ id }: { id: string }) {
  const [role, setRole] = useState<(typeof roles)[number][0]>("labeler");
  const invite = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/invitations", { params: { project: id }, body: { role } }),
  });
  return (
    <div className="narrow">
      <Choose label="Invite" value={role} options={roles} onChange={setRole} />
      <Problem error={invite.error} />
      <button type="button" onClick={() => invite.mutate()}>
        Make a link
      </button>
      {invite.data && <LinkToSend {...invite.data} />}
    </div>
  );
}
