-- A userdb before the table: it keeps Dovecot from opening mailboxes that a task holds, and those of other hosts.
--
-- Fencing: in a stack of several hosts each mailbox has one home (the field `shard` of its line; without it host 1).
-- Two Dovecots in one mailbox would corrupt its index, so on every other host the lookup fails with a temporary error.
-- It never says that the user is unknown, because that would bounce mail.
--
-- While a task holds a mailbox, LMTP's lookup fails, and Dovecot answers Postfix with 451. `deliver` checks holds
-- itself, before it connects. src/postal_plexus/deliver/hold_file.py documents the format and when a hold ends.

local HOLDS = "/run/plexus/dovecot/holds/"
local LONGEST_SECONDS = 600
local TABLE = "/run/plexus/directory/dovecot-passwd"
-- This host's number, in a stack of several hosts.
local SHARD = tonumber(os.getenv("PLEXUS_SHARD") or "")

local function content(path)
  local file = io.open(path, "rb")
  if not file then return "" end
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

-- The number of a user's home; nil for an unknown user.
local function home_of(user)
  local file = io.open(TABLE, "rb")
  if not file then return nil end
  local text = "\n" .. (file:read("a") or "")
  file:close()
  local _, stop = text:find("\n" .. user .. ":", 1, true)
  return stop and tonumber(text:match("^[^\n]*", stop + 1):match("[: ]shard=(%d+)") or "1")
end

function auth_userdb_lookup(request)
  local home = SHARD and home_of(request.user)
  if home and home ~= SHARD then
    return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "lives on host " .. home
  end
  if request.protocol == "lmtp" and is_held(request) then
    return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "held for a task"
  end
  return dovecot.auth.USERDB_RESULT_USER_UNKNOWN, "see the table"
end

-- All users stand in the table.
function auth_userdb_iterate() return {} end
