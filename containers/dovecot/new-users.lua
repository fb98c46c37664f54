-- A userdb after the table: it knows the users whom Dovecot's own copy of the table lacks yet.
--
-- passwords.lua reads the table at each login, but `userdb passwd-file` looks for a new one once a second. In between, a
-- new user's password would fit and the lookup of the user fail: the login ended with an internal failure (on which
-- Dovecot 2.4.1's imap-login can crash, with everybody's sessions), and LMTP refused mail to the user for good.

local TABLE = "/run/plexus/directory/dovecot-passwd"
local line_of = dofile("/etc/dovecot/table.lua")

function auth_userdb_lookup(request)
  local auth = dovecot.auth
  local line = line_of(request.user)
  if not line then
    local file, fault = io.open(TABLE, "rb")
    if not file then return auth.USERDB_RESULT_INTERNAL_FAILURE, fault end
    file:close()
    return auth.USERDB_RESULT_USER_UNKNOWN, "no such user"
  end
  local home, extra = line:match("^[^:]*:[^:]*:[^:]*:[^:]*:([^:]*):[^:]*:(.*)$")
  local fields = {}
  if home ~= "" then fields.home = home end
  for name, value in extra:gmatch("userdb_([%w_]+)=(%S+)") do fields[name] = value end
  return auth.USERDB_RESULT_OK, fields
end

-- All users stand in the table.
function auth_userdb_iterate() return {} end
