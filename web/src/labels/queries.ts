import { useQuery } from "@tanstack/react-query";
import { call } from "../ui/api.ts";

export const useProject = (id: string) =>
  useQuery({
    queryKey: ["project", id],
    queryFn: () => call("GET /api/projects/:project", { params: { project: id } }),
  });

export const useGuidelines = (id: string) =>
  useQuery({
    queryKey: ["guidelines", id],
    queryFn: () => call("GET /api/projects/:project/guidelines", { params: { project: id } }),
  });
