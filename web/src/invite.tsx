import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "./api.ts";
import { LinkToSend } from "./link-to-send.tsx";
import { Problem } from "./page.tsx";

/** Makes links for people who are to work on a project. */
export function Invite({ id }: { id: string }) {
  const [role, setRole] = useState<"labeler" | "reviewer" | "owner">("labeler");
  const invite = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/invitations", { params: { project: id }, body: { role } }),
  });
  return (
    <div className="narrow">
      <label>
        Invite
        <select value={role} onChange={({ target }) => setRole(target.value as typeof role)}>
          <option value="labeler">a labeler</option>
          <option value="reviewer">a reviewer, who sees everybody's answers</option>
          <option value="owner">an owner, who can change everything</option>
        </select>
      </label>
      <Problem error={invite.error} />
      <button type="button" onClick={() => invite.mutate()}>
        Make a link
      </button>
      {invite.data && <LinkToSend {...invite.data} />}
    </div>
  );
}
