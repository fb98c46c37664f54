-- Mailboxes that take no mail for the moment, because an operator's task works on them.
--
-- A userdb before the table: for LMTP it fails while a mailbox is held, so that Postfix is told to try again
-- (451). `deliver` looks for itself, before it asks here. The format, and what makes a hold void, stands in
-- src/postal_plexus/deliver/hold_file.py.

local HOLDS = "/run/plexus/dovecot/holds/"
local LONGEST_SECONDS = 600

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

function auth_userdb_lookup(request)
  if request.protocol == "lmtp" and is_held(request) then
    return dovecot.auth.USERDB_RESULT_INTERNAL_FAILURE, "held for a task"
  end
  return dovecot.auth.USERDB_RESULT_USER_UNKNOWN, "see the table"
end

-- All users stand in the table.
function auth_userdb_iterate() return {} end
