import { useMutation, useQuery } from "@tanstack/react-query";
import { call } from "../ui/api.ts";
import { LinkToSend } from "../ui/link-to-send.tsx";
import { ErrorMessage, Page } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

/** Lists all accounts, and creates password reset links. For owners. */
export function People() {
  const all = useQuery({ queryKey: ["users"], queryFn: () => call("GET /api/users") });
  const reset = useMutation({
    mutationFn: async ({ id, name }: { id: string; name: string }) => ({
      ...(await call("POST /api/users/:user/reset", { params: { user: id } })),
      name,
    }),
  });
  return (
    <Page title="People" error={all.error}>
      <Table
        label="People"
        head={["name", "role", "since", "new password"]}
        rows={(all.data ?? []).map(({ id, name, role, active, since }) => [
          name,
          active ? role : `${role}, closed`,
          new Date(since).toLocaleDateString(),
          active && (
            <button key="reset" type="button" className="quiet" onClick={() => reset.mutate({ id, name })}>
              Make a link <span className="hidden">for {name}</span>
            </button>
          ),
        ])}
      />
      <ErrorMessage error={reset.error} />
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
