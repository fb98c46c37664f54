-- Mailboxes that are not opened here: those that an operator's task works on, and those of other hosts.
--
-- The fence: in a stack of several hosts each mailbox has one home (the field shard of its line; without it host 1).
-- Two Dovecots in one mailbox would break its index, so every process of another host is told of a failure that passes,
-- and never that there is no such user, which would bounce mail.
--
-- A userdb before the table: for LMTP it fails while a mailbox is held, so that Postfix is told to try again
-- (451). `deliver` looks for itself, before it asks here. The format, and what makes a hold void, stands in
-- src/postal_plexus/deliver/hold_file.py.

local HOLDS = "/run/plexus/dovecot/holds/"
local LONGEST_SECONDS = 600
local TABLE = "/run/plexus/directory/dovecot-passwd"
-- Of a stack with several hosts.
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
