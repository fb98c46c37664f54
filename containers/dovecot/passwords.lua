-- Verify passwords, limit guessing, and record last logins.
--
-- Dovecot calls auth_password_verify in its auth process, one request at a time. The process may have several Lua
-- states, which share data through files.
--
-- A user's line in the directory's table contains the hash of the main password and, in further fields
-- `app-NAME={SCHEME}hash`, those of app passwords. The line is read at each login, so a revoked password is
-- refused at once. A verified password is cached as a salted SHA-256, in memory only, for as long as the line
-- contains its hash.
--
-- Users' own settings are in a file in the mailbox's directory; src/postal_plexus/account/record.py lists its
-- lines: a main password instead of the table's, further app passwords, and whether the main password opens mail
-- at all. The file is valid while the table has the hash that it names; another hash means that the operator has
-- reset the password. A malformed file lets the user's logins fail with a temporary error and affects no other
-- user. The account page (protocol "account") always takes the main password, and never an app password, so that a
-- stolen telephone does not open it.
--
-- A user may type a domain in Unicode, `eva@straße.example`, in any case and normalization. A table from the
-- directory maps it to the stored name, `eva@xn--strae-oqa.example`, which Dovecot and Postfix use from then on.
--
-- Limits on guessing: each wrong password is noted for its network and for its user; the same password counts
-- once. At the limit every login fails with a temporary error, without a check of the password (IMAP
-- NO [UNAVAILABLE], ManageSieve NO, Postfix's 535), until the oldest note leaves the window. A network from which
-- the user has logged in within 90 days is exempt from the user's limit, but not from its own. A network is an
-- IPv4 address or an IPv6 /64, because a subscriber has all addresses of a /64.
--
-- Webmail's ManageSieve and submission connections lack the browser's address (web.conf; Postfix passes 127.0.0.1).
-- They count as one network, and their logins are not recorded: webmail has used the same password for IMAP, with
-- the address, just before.
--
-- In a stack of several hosts, a login to a mailbox of another host goes unverified to Dovecot's proxy, which passes
-- the password to the home by TLS and verifies its certificate. The home verifies and counts it. Submission is
-- verified on this host.
--
-- The notes are a file for each network and user with lines `SECONDS CHECK`, where CHECK is 128 bits of the
-- password's SHA-256, keyed with a secret of this host: it identifies a repeated password, but cannot be compared
-- with hashes from elsewhere. Last logins are a file for each user with lines `TIME PASSWORD PROTOCOL ADDRESS`; a
-- line is written again after ten minutes.

local line_of = dofile("/etc/dovecot/table.lua")

local HOSTS = "/run/plexus/directory/dovecot-hosts"
local DOMAINS = "/run/plexus/directory/dovecot-domains"
local STORE = "/srv/mail/"
local HOMES = STORE .. ".homes/"
-- How long a client waits in its login for a mailbox that is being moved here; less than proxy_timeout.
local MOVE_SECONDS = 8
local OWN_NAME, OWN_LARGEST = "/.passwords", 16384
local NOTES = "/run/plexus/dovecot/guesses/"
local NOTES_KEY = "/run/plexus/dovecot/guesses.key"
local LOGINS = "/srv/mail/last-logins/"
local LOGIN_DAYS, LOGIN_SECONDS = 90, 600
local MOST_REMEMBERED = 5000
-- In a stack of several hosts: this host's number, and how each protocol is proxied.
local SHARD = tonumber(os.getenv("PLEXUS_SHARD") or "")
local PROXIED = {
  -- Without no_multiplex some sessions stall after the login (fixed in Dovecot after 2.4.1).
  imap = { port = "993", ssl = "yes", proxy_no_multiplex = "y" },
  sieve = { port = "4190", starttls = "yes" },
  lmtp = { port = "24", ssl = "yes" },
  -- `deliver`'s question whether the mailbox has a message.
  doveadm = { port = "24245", ssl = "yes" },
}

-- The characters that RFC 5321 allows in a local part without quotes, and those of a domain.
local NAME = "^[a-z0-9.!#$%%&'*+=?^_`{|}~-]+@[a-z0-9.-]+$"

local limits = {}
local salt, notes_key
local proved, wrong, states, remembered = {}, {}, {}, 0
local recorded = {}

local function content(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("a") or ""
  file:close()
  return text
end

function script_init(settings)
  for _, name in ipairs({ "address_guesses", "user_guesses", "window_seconds" }) do
    limits[name] = assert(tonumber(settings[name]), name .. " is not a number")
  end
  local random = assert(io.open("/dev/urandom", "rb"))
  salt = random:read(16):gsub(".", function(octet) return string.format("%02x", octet:byte()) end)
  random:close()
  notes_key = assert(content(NOTES_KEY):match("^%x+$"), NOTES_KEY .. " holds no key: the entrypoint makes it")
  return 0
end

-- Replace each `from` in a text by `to`; both are plain text, not patterns.
local function replaced(text, from, to)
  local parts, at = {}, 1
  while true do
    local start, stop = text:find(from, at, true)
    if not start then break end
    parts[#parts + 1] = text:sub(at, start - 1) .. to
    at = stop + 1
  end
  return table.concat(parts) .. text:sub(at)
end

-- Return the stored name for a typed one; nil if no user can have that name.
local function kept_name(typed)
  local name = typed:lower()
  local start, domain = name:match("^([^\128-\255]*@)([^@]*[\128-\255][^@]*)$")
  if start then
    for kind, from, to in content(DOMAINS):gmatch("(%l+)\t([^\t\n]+)\t([^\t\n]+)\n") do
      if kind == "spelling" then
        domain = replaced(domain, from, to)
      elseif domain == from then
        name = start .. to
        break
      end
    end
  end
  return name:match(NAME)
end

-- Return the network whose limits apply to an address: an IPv4 address, or an IPv6 /64.
local function network_of(address)
  if not address:find(":", 1, true) then return address end
  local first, rest = address:match("^(.-)::(.*)$")
  local groups = {}
  for group in (first or address):gmatch("%x+") do groups[#groups + 1] = group end
  if first then
    local _, others = rest:gsub("%x+", "")
    while #groups + others < 8 do groups[#groups + 1] = "0" end
    for group in rest:gmatch("%x+") do groups[#groups + 1] = group end
  end
  return table.concat(groups, ":", 1, 4) .. "::"
end

-- Return the user's hashes, a list of {name, hash}, the line, and the user's present name; nil for an unknown user.
local function hashes_of(user)
  local line = line_of(user)
  if not line then return nil end
  -- A mailbox was renamed; devices may still log in with its first address.
  local renamed = line:match("[ :]renamed=(%S+)$")
  if renamed then return hashes_of(renamed) end
  local hashes = { { "main", line:match("^[^:]*") } }
  for name, hash in line:gmatch(" ?app%-([%w-]+)=(%S+)") do
    hashes[#hashes + 1] = { name, hash }
  end
  return hashes, line, user
end

-- Return the fields with which Dovecot proxies to a mailbox's home, or false if the home's address is unknown; nil for
-- mailboxes of this host and for protocols that are not proxied.
local function proxy_fields(request, line)
  local fields = SHARD and PROXIED[request.protocol]
  local home = line:match("[: ]shard=(%d+)") or "1"
  if not fields or tonumber(home) == SHARD then return nil end
  for number, name, address in content(HOSTS):gmatch("(%d+) (%S+) (%S+)\n") do
    if number == home then
      local found = { proxy = "y", host = name, hostip = address, proxy_timeout = "10" }
      for field, value in pairs(fields) do found[field] = value end
      return found
    end
  end
  return false
end

-- Return a mailbox's storage address and directory: from the line if it has a home, otherwise from the user's name.
local function storage_of(user, line)
  local home = line:match("^[^:]*:[^:]*:[^:]*:[^:]*:([^:]*):")
  local domain, name = (home or ""):match("^/srv/mail/([^/]+)/([^/]+)$")
  if not domain then name, domain = user:match("^(.*)@([^@]*)$") end
  return name .. "@" .. domain, STORE .. domain .. "/" .. name
end

-- Return whether a mailbox of this host is still being moved here (holds.lua).
local function is_coming(user, line)
  if not SHARD then return false end
  local file, _, number = io.open(HOMES .. storage_of(user, line), "rb")
  if not file then return not (SHARD == 1 and number == 2) end
  local text = file:read("l")
  file:close()
  return text ~= SHARD .. " has"
end

-- Return the text of the user's own file, "" if there is none; nil and the error if it cannot be read.
local function own_text(folder)
  local file, fault, number = io.open(folder .. OWN_NAME, "rb")
  -- No such file, or no such directory.
  if not file then return number == 2 and "" or nil, fault end
  local text, reading = file:read(OWN_LARGEST + 1)
  file:close()
  if not text then return nil, folder .. OWN_NAME .. ": " .. (reading or "empty") end
  return text
end

-- Parse a user's own file into {main, apps, only_apps}. Return nil if the operator has reset the password since, and
-- false if the text is malformed.
local function own_passwords(request, text, storage, stack_hash)
  local head = "plexus-passwords 1\nmailbox " .. storage .. "\nstack "
  if #text > OWN_LARGEST or text:sub(1, #head) ~= head or text:sub(-5) ~= "\nend\n" then return false end
  local stack, rest = text:sub(#head + 1):match("^(%x+)\n(.*)end\n$")
  if not stack or #stack ~= 64 then return false end
  local own, read = { apps = {}, only_apps = false }, 0
  for line in rest:gmatch("([^\n]*)\n") do
    local main = line:match("^main ({[A-Z0-9.-]+}[!-9;-~]+)$")
    local name, hash = line:match("^app ([a-z0-9][a-z0-9-]*) %d+ ({[A-Z0-9.-]+}[!-9;-~]+)$")
    if main and not own.main then
      own.main = main
    elseif name and name ~= "main" and #name <= 32 then
      own.apps[#own.apps + 1] = { name, hash }
    elseif line == "app-passwords-only" then
      own.only_apps = true
    elseif not line:match("^second%-factor [A-Z2-7]+ %d+$") and not line:match("^recovery %x+$") then
      return false
    end
    read = read + #line + 1
  end
  if read ~= #rest then return false end
  local escaped = stack_hash:gsub("[\\']", "\\%0")
  if stack ~= request:var_expand("%{literal('" .. escaped .. "') | sha256 | hexlify}") then return nil end
  return own
end

-- Return the hashes that are valid for this request, and a text that changes whenever they do; nil and the error if
-- the user's own file cannot be used.
local function hashes_in_force(request, user, hashes, line)
  local storage, folder = storage_of(user, line)
  local text, fault = own_text(folder)
  if not text then return nil, fault end
  local own = nil
  if text ~= "" then own = own_passwords(request, text, storage, hashes[1][2]) end
  if own == false then return nil, folder .. OWN_NAME .. " is not what the account page writes" end
  local main = { "main", own and own.main or hashes[1][2] }
  local for_page = request.protocol == "account"
  local counting = {}
  if for_page or not (own and own.only_apps) then counting[1] = main end
  if not for_page then
    for at = 2, #hashes do counting[#counting + 1] = hashes[at] end
    for _, each in ipairs(own and own.apps or {}) do counting[#counting + 1] = each end
  end
  local state = {}
  for _, each in ipairs(counting) do state[#state + 1] = each[2] end
  return counting, table.concat(state, " ")
end

-- Return the name of the matching password, or nil. A wrong password stays wrong while the state is the same.
local function verified(request, user, password, hashes, state)
  -- Keep one copy of the state for all wrong passwords of a user.
  if states[user] ~= state then states[user] = state end
  state = states[user]
  local key = user .. " " .. request:var_expand("%{password | sha256(salt='" .. salt .. "') | hexlify}")
  for _, each in ipairs(hashes) do
    if proved[key] == each[2] then return each[1] end
  end
  if wrong[key] == state then return nil end
  if remembered >= MOST_REMEMBERED then proved, wrong, states, remembered = {}, {}, { [user] = state }, 0 end
  remembered = remembered + 1
  for _, each in ipairs(hashes) do
    local fits, fault = request:password_verify(each[2], password)
    if fits == 1 then
      proved[key], wrong[key] = each[2], nil
      return each[1]
    elseif fits < 0 then
      request:log_error("the hash of password " .. each[1] .. " cannot be used: " .. tostring(fault))
    end
  end
  wrong[key] = state
  return nil
end

-- Return the notes of a file that are within the window, {check = seconds}, and their number.
local function notes_in(path)
  local since = os.time() - limits.window_seconds
  local checks, count = {}, 0
  for at, check in content(path):gmatch("(%d+) (%x+)\n") do
    if tonumber(at) > since then
      count = count + 1
      checks[check] = tonumber(at)
    end
  end
  return checks, count
end

-- Note a wrong password. Return the number of notes if it is new, otherwise 0.
local function note(request, path, check)
  local checks, count = notes_in(path)
  if checks[check] then return 0 end
  -- If all notes have left the window, start a new file, so that files stay short.
  local file, fault = io.open(path, count > 0 and "ab" or "wb")
  if not file then
    request:log_error("cannot note a wrong password: " .. fault)
    return 0
  end
  file:write(os.time(), " ", check, "\n")
  file:close()
  return count + 1
end

local function login_file(user) return LOGINS .. user end

local function is_known(user, network)
  local since = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - LOGIN_DAYS * 86400)
  for at, protocol, from in content(login_file(user)):gmatch("(%S+) %S+ (%S+) (%S+)\n") do
    -- The account page asks for the second factor after the password, so the password must not make a network known.
    if at > since and protocol ~= "account" and network_of(from) == network then return true end
  end
  return false
end

-- Record when, from where and with which password the user logged in.
local function record(request, user, name)
  local use = name .. " " .. request.protocol .. " " .. request.remote_ip
  local now = os.time()
  local key = user .. " " .. use
  if recorded[key] and now - recorded[key] < LOGIN_SECONDS then return end
  recorded[key] = now
  local path = login_file(user)
  local since = os.date("!%Y-%m-%dT%H:%M:%SZ", now - LOGIN_DAYS * 86400)
  local lines = {}
  for at, former in content(path):gmatch("(%S+) ([^\n]+)\n") do
    if former ~= use and at > since then lines[#lines + 1] = at .. " " .. former .. "\n" end
  end
  lines[#lines + 1] = os.date("!%Y-%m-%dT%H:%M:%SZ", now) .. " " .. use .. "\n"
  -- Other hosts write there too, for submission, so each has a temporary name of its own.
  local new = path .. ".new" .. (SHARD or "")
  local file, fault = io.open(new, "wb")
  if file then
    file:write(table.concat(lines))
    file:close()
    _, fault = os.rename(new, path)
  end
  if fault then request:log_error("cannot record a login: " .. fault) end
end

function auth_password_verify(request, password)
  local auth = dovecot.auth
  local is_remote = request.remote_ip and request.remote_ip ~= "127.0.0.1"
  local user, network = kept_name(request.user), is_remote and network_of(request.remote_ip) or "web"
  local hashes, line
  if user then
    local now
    hashes, line, now = hashes_of(user)
    user = now or user
  end
  local proxied = line and proxy_fields(request, line)
  if proxied == false then return auth.PASSDB_RESULT_INTERNAL_FAILURE, "the home of " .. user .. " is not known" end
  if proxied then
    proxied.user = user
    return auth.PASSDB_RESULT_OK, proxied
  end
  local network_notes, user_notes = NOTES .. "address-" .. network, NOTES .. "user-" .. tostring(user)
  local window = " within " .. limits.window_seconds .. " s"

  local _, guesses = notes_in(network_notes)
  if guesses >= limits.address_guesses then
    return auth.PASSDB_RESULT_INTERNAL_FAILURE,
      "refused: " .. network .. " has guessed " .. guesses .. " passwords" .. window
  end
  if hashes then
    _, guesses = notes_in(user_notes)
    if guesses >= limits.user_guesses and not is_known(user, network) then
      return auth.PASSDB_RESULT_INTERNAL_FAILURE,
        "refused: " .. guesses .. " passwords of " .. user .. " were guessed" .. window
    end
    local counting, state = hashes_in_force(request, user, hashes, line)
    if not counting then
      request:log_error("passwords of " .. user .. ": " .. state)
      return auth.PASSDB_RESULT_INTERNAL_FAILURE, "the passwords of " .. user .. " cannot be read"
    end
    local name = verified(request, user, password, counting, state)
    if name then
      if is_remote then record(request, user, name) end
      local fields = user == request.user and {} or { user = user }
      if PROXIED[request.protocol] and is_coming(user, line) then
        fields.delay_until = tostring(os.time() + MOVE_SECONDS)
      end
      -- Calendars are stored like mail, under the mailbox's first address.
      if request.protocol == "calendars" then fields.storage = storage_of(user, line) end
      return auth.PASSDB_RESULT_OK, fields
    end
  end

  local keyed = " | sha256(salt='" .. notes_key .. "') | hexlify}"
  local check = request:var_expand("%{password" .. keyed):sub(1, 32)
  -- The network's limit counts a password once for each user: one password tried on many users is guessing, but the
  -- same password again for one user is a device with an old password.
  local both = request:var_expand("%{user" .. keyed):sub(1, 32) .. check
  if note(request, network_notes, both) == limits.address_guesses then
    request:log_warning("blocked: " .. network .. " has guessed " .. limits.address_guesses .. " passwords" .. window)
  end
  if not hashes then return auth.PASSDB_RESULT_USER_UNKNOWN, "no such user" end
  if note(request, user_notes, check) == limits.user_guesses then
    request:log_warning("blocked: " .. limits.user_guesses .. " passwords of " .. user .. " were guessed" .. window)
  end
  return auth.PASSDB_RESULT_PASSWORD_MISMATCH, "no password fits"
end

-- LMTP and doveadm ask here whether a recipient is proxied; if not, it looks the recipient up in the userdb.
if SHARD then
  function auth_passdb_lookup(request)
    local auth = dovecot.auth
    local user = kept_name(request.user)
    if not user then return auth.PASSDB_RESULT_USER_UNKNOWN, "no such user" end
    local hashes, line = hashes_of(user)
    if not hashes then return auth.PASSDB_RESULT_USER_UNKNOWN, "no such user" end
    local proxied = proxy_fields(request, line)
    if proxied == false then return auth.PASSDB_RESULT_INTERNAL_FAILURE, "the home of " .. user .. " is not known" end
    local found = proxied or {}
    -- Dovecot accepts no result without a password; neither uses it.
    found.password = hashes[1][2]
    return auth.PASSDB_RESULT_OK, found
  end
end
