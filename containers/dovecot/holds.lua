-- A userdb before the table: it keeps Dovecot from opening mailboxes that a task holds, and those of other hosts.
--
-- Fencing: in a stack of several hosts each mailbox has one home (the field `shard` of its line; without it host 1).
-- Two Dovecots in one mailbox would corrupt its index, so on every other host the lookup fails with a temporary error.
-- It never says that the user is unknown, because that would bounce mail.
-- The home itself opens it only when it has its index. That is in a file beside the messages (containers/dovecot/indexes
-- documents it), because hosts learn of a new home at different moments.
--
-- While a task holds a mailbox, LMTP's lookup fails, and Dovecot answers Postfix with 451. `deliver` checks holds
-- itself, before it connects. src/postal_plexus/deliver/hold_file.py documents the format and when a hold ends.

local line_of = dofile("/etc/dovecot/table.lua")

local HOLDS = "/run/plexus/dovecot/holds/"
local LONGEST_SECONDS = 600
-- This host's number, in a stack of several hosts.
local SHARD = tonumber(os.getenv("PLEXUS_SHARD") or "")

local HOMES = "/srv/mail/.homes/"

local function content(path)
  local file, _, number = io.open(path, "rb")
  -- The number tells a file that is not there (2) from one that cannot be read.
  if not file then return "", number end
  local text = file:read(1024) or ""
  file:close()
  return text
end

local function is_held(request)
  local text = content(HOLDS .. request:var_expand("%{user | sha256 | hexlify}"))
  local address, boot, ends = text:match("^plexus%-hold 1\n([^\n]+)\n([^\n]+)\n(%d+) [^\n]*\n$")
  if address ~= request.user or boot ~= content("/proc/sys/kernel/random/boot_id"):match("%S+") then return false end
  local left = tonumber(ends) - tonumber(content("/proc/uptime"):match("^[%d.]+"))
  return left > 0 and left <= LONGEST_SECONDS
end

-- The number of a user's home, and the address under which the mail lies; nil for an unknown user.
local function home_of(user)
  local line = line_of(user)
  if not line then return nil end
  local domain, name = line:match("^[^:]*:[^:]*:[^:]*:[^:]*:/srv/mail/([^/:]+)/([^/:]+):")
  return tonumber(line:match("[: ]shard=(%d+)") or "1"), domain and name .. "@" .. domain or user
end

function auth_userdb_lookup(request)
  local home, stored
  if SHARD then home, stored = home_of(request.user) end
  if home and home ~= SHARD then
    return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "lives on host " .. home
  end
  if home then
    local record, fault = content(HOMES .. stored)
    if record ~= SHARD .. " has\n" and not (SHARD == 1 and fault == 2) then
      return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "is being moved here"
    end
  end
  if request.protocol == "lmtp" and is_held(request) then
    return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "held for a task"
  end
  return dovecot.auth.USERDB_RESULT_USER_UNKNOWN, "see the table"
end

-- All users stand in the table.
function auth_userdb_iterate() return {} end
