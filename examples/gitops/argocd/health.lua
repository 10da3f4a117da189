-- How Argo CD sees a BitbucketConnection, a KmsInstance and a ClusterKmsInstance.
--
-- Degraded: a person must act, and the message says what to do. Progressing: it waits for something that is to appear
-- (a Secret, an instance), or for a first answer; it goes on by itself. Suspended: somebody wanted that.

local function condition(type)
  for _, it in ipairs((obj.status or {}).conditions or {}) do
    if it.type == type then
      return it
    end
  end
  return nil
end

local function health(status, message)
  return { status = status, message = message }
end

local status = obj.status or {}
local ready = condition("Ready")

if obj.metadata.deletionTimestamp ~= nil then
  local synced = condition("Synced")
  if synced ~= nil and synced.reason == "DeletionBlocked" then
    return health("Degraded", synced.message)
  end
  return health("Progressing", "It is being deleted")
end
if ready == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The operator has not looked at this version yet")
end
if (obj.spec or {}).managementPolicy == "Suspended" then
  return health("Suspended", "Nothing is verified while managementPolicy is Suspended")
end
local stalled = condition("Stalled")
if stalled ~= nil and stalled.status == "True" then
  return health("Degraded", ready.message)
end
if ready.status == "True" then
  return health("Healthy", ready.message)
end
local reconciling = condition("Reconciling")
if reconciling ~= nil and reconciling.status == "True" then
  return health("Progressing", ready.message)
end
-- It was Ready, and for long nobody could verify it.
return health("Degraded", ready.message)
