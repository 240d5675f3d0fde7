-- How Argo CD reads the health of a RegistryConnection and of a ClusterRegistryConnection. docs/gitops.md tells how to install it.
--
-- What Argo CD calls Healthy, Progressing and Degraded is what kstatus, and so Flux, calls Current, InProgress and Failed. There are
-- two exceptions. A suspended connection is Suspended unless it is Degraded. One without observedGeneration, without Ready, or with a
-- Ready that is about an earlier spec is Progressing, which kstatus need not notice; the operator writes no such status.
--
-- Argo CD gives it no string library, and shows an error for the health if it fails: nothing is taken to be there, or of the right type.

local function field(value, key)
  if type(value) == "table" then
    return value[key]
  end
end

local function words(condition, otherwise)
  local message = field(condition, "message")
  if type(message) == "string" and message ~= "" then
    return message
  end
  return otherwise
end

local function with_reason(condition, otherwise)
  local reason = field(condition, "reason")
  if type(reason) == "string" and reason ~= "" then
    return reason .. ": " .. words(condition, otherwise)
  end
  return words(condition, otherwise)
end

local function progressing(message)
  return {status = "Progressing", message = message}
end

local metadata = field(obj, "metadata")
local generation = field(metadata, "generation")
local status = field(obj, "status")
local observed = field(status, "observedGeneration")
local is_suspended = field(field(obj, "spec"), "suspend") == true

if field(metadata, "deletionTimestamp") ~= nil then
  return progressing("the connection is being deleted")
end
if type(observed) ~= "number" or observed < 0 then
  return progressing("waiting for the operator, which has not seen the connection yet")
end
if type(generation) == "number" and observed ~= generation then
  return progressing("waiting for the operator, which has not seen the latest change of the connection yet")
end

-- Of Reconciling and Stalled at most one is there; kstatus heeds the first.
local ready, hindrance
local conditions = field(status, "conditions")
if type(conditions) == "table" then
  for _, condition in ipairs(conditions) do
    local kind = field(condition, "type")
    if kind == "Ready" and ready == nil then
      ready = condition
    elseif (kind == "Reconciling" or kind == "Stalled") and field(condition, "status") == "True" and hindrance == nil then
      hindrance = condition
    end
  end
end

local told = field(ready, "observedGeneration")
if type(generation) == "number" and type(told) == "number" and told < generation then
  return progressing("waiting for the operator, which has not judged the latest change of the connection yet")
end

local is_ready = field(ready, "status") == "True"
if field(hindrance, "type") == "Stalled" then
  local cause = ready
  if ready == nil or is_ready then
    cause = hindrance
  end
  local message = with_reason(cause, "the connection does not get better by itself")
  if is_suspended then
    message = "suspended; " .. message
  end
  return {status = "Degraded", message = message}
end
if is_suspended then
  local message = words(ready, "nothing is tested or written")
  if field(ready, "reason") ~= "Suspended" then
    message = "suspended; " .. message
  end
  return {status = "Suspended", message = message}
end
if hindrance ~= nil then
  return progressing(with_reason(ready, "the operator works on the connection"))
end
if is_ready then
  return {status = "Healthy", message = words(ready, "the connection is ready")}
end
return progressing(with_reason(ready, "waiting for the operator, which has not judged the connection yet"))
