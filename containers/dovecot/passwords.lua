-- Passwords: who may log in, who has guessed too often, and when a password was last used.
--
-- Dovecot calls auth_password_verify in its auth process, one question after the other. That may have
-- several Lua states; what these share lies in files.
--
-- A user's line in the directory's table holds the hash of the main password and, as further fields
-- `app-NAME={SCHEME}hash`, those of app passwords. The line is read at each login: what was revoked is
-- refused at once. What a hash has verified once is known again by a salted SHA-256, in memory only,
-- as long as the line holds that hash.
--
-- Guessing: each wrong password is noted for its address and for its user, a repeated one once. Whoever
-- has reached the limit within the window is refused without a look at the password, as a temporary
-- failure (IMAP NO [UNAVAILABLE], ManageSieve NO, Postfix's 535), until the oldest note leaves the
-- window. An address from which the user has logged in within 90 days is spared the user's limit, not
-- its own. Dovecot itself delays answers by address as well, 2 s and more with each wrong password.
--
-- The notes are a file for each address and user, `SECONDS CHECK` a line, where CHECK is 16 bits of the
-- password's SHA-256: enough to see a repeated one, too little to find it. Last logins are a file for
-- each user, `TIME PASSWORD PROTOCOL ADDRESS` a line, noted anew after ten minutes.

local TABLE = "/run/plexus/directory/dovecot-passwd"
local NOTES = "/run/plexus/dovecot/guesses/"
local LOGINS = "/srv/mail/last-logins/"
local LOGIN_DAYS, LOGIN_SECONDS = 90, 600
local MOST_REMEMBERED = 5000

local limits = {}
local salt
local proved, wrong, remembered = {}, {}, 0
local recorded = {}

function script_init(settings)
  for _, name in ipairs({ "address_guesses", "user_guesses", "window_seconds" }) do
    limits[name] = assert(tonumber(settings[name]), name .. " is not a number")
  end
  local random = assert(io.open("/dev/urandom", "rb"))
  salt = random:read(16):gsub(".", function(octet) return string.format("%02x", octet:byte()) end)
  random:close()
  return 0
end

local function content(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("a") or ""
  file:close()
  return text
end

-- The user's hashes, a list of {name, hash}; nil for an unknown user.
local function hashes_of(user)
  local text = "\n" .. content(TABLE)
  local start, stop = text:find("\n" .. user .. ":", 1, true)
  if not start then return nil end
  local line = text:match("[^\n]*", stop + 1)
  local hashes = { { "main", line:match("^[^:]*") } }
  for name, hash in line:gmatch(" ?app%-([%w-]+)=(%S+)") do
    hashes[#hashes + 1] = { name, hash }
  end
  return hashes, line
end

-- The name of the password that fits, or nil.
local function verified(request, password, hashes, line)
  local key = request.user .. " " .. request:var_expand("%{password | sha256(salt='" .. salt .. "') | hexlify}")
  for _, each in ipairs(hashes) do
    if proved[key] == each[2] then return each[1] end
  end
  if wrong[key] == line then return nil end
  if remembered >= MOST_REMEMBERED then proved, wrong, remembered = {}, {}, 0 end
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
  wrong[key] = line
  return nil
end

-- The notes of a file that are within the window, {line = true}, and their number.
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

-- Note a wrong password; the number of notes if it is new, else 0.
local function note(request, path, check)
  local checks, count = notes_in(path)
  if checks[check] then return 0 end
  -- What has left the window goes, so that the file stays as short as the limit.
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

local function is_known(user, address)
  local since = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - LOGIN_DAYS * 86400)
  for at, from in content(login_file(user)):gmatch("(%S+) %S+ %S+ (%S+)\n") do
    if from == address and at > since then return true end
  end
  return false
end

-- Write when, from where and with which password the user was here.
local function record(request, name)
  local use = name .. " " .. request.protocol .. " " .. request.remote_ip
  local now = os.time()
  local key = request.user .. " " .. use
  if recorded[key] and now - recorded[key] < LOGIN_SECONDS then return end
  recorded[key] = now
  local path = login_file(request.user)
  local since = os.date("!%Y-%m-%dT%H:%M:%SZ", now - LOGIN_DAYS * 86400)
  local lines = {}
  for at, former in content(path):gmatch("(%S+) ([^\n]+)\n") do
    if former ~= use and at > since then lines[#lines + 1] = at .. " " .. former .. "\n" end
  end
  lines[#lines + 1] = os.date("!%Y-%m-%dT%H:%M:%SZ", now) .. " " .. use .. "\n"
  local file, fault = io.open(path .. ".new", "wb")
  if file then
    file:write(table.concat(lines))
    file:close()
    _, fault = os.rename(path .. ".new", path)
  end
  if fault then request:log_error("cannot record a login: " .. fault) end
end

function auth_password_verify(request, password)
  local auth = dovecot.auth
  local user, address = request.user, request.remote_ip
  local hashes, line = hashes_of(user)
  local address_notes, user_notes = NOTES .. "address-" .. address, NOTES .. "user-" .. user
  local window = " within " .. limits.window_seconds .. " s"

  local _, guesses = notes_in(address_notes)
  if guesses >= limits.address_guesses then
    return auth.PASSDB_RESULT_INTERNAL_FAILURE,
      "refused: " .. address .. " has guessed " .. guesses .. " passwords" .. window
  end
  if hashes then
    _, guesses = notes_in(user_notes)
    if guesses >= limits.user_guesses and not is_known(user, address) then
      return auth.PASSDB_RESULT_INTERNAL_FAILURE,
        "refused: " .. guesses .. " passwords of " .. user .. " were guessed" .. window
    end
    local name = verified(request, password, hashes, line)
    if name then
      record(request, name)
      return auth.PASSDB_RESULT_OK, {}
    end
  end

  local check = request:var_expand("%{password | sha256 | hexlify}"):sub(1, 4)
  -- One password tried on many users is many guesses; one tried again on one user is a forgotten device.
  local both = request:var_expand("%{user | sha256 | hexlify}"):sub(1, 4) .. check
  if note(request, address_notes, both) == limits.address_guesses then
    request:log_warning("blocked: " .. address .. " has guessed " .. limits.address_guesses .. " passwords" .. window)
  end
  if not hashes then return auth.PASSDB_RESULT_USER_UNKNOWN, "no such user" end
  if note(request, user_notes, check) == limits.user_guesses then
    request:log_warning("blocked: " .. limits.user_guesses .. " passwords of " .. user .. " were guessed" .. window)
  end
  return auth.PASSDB_RESULT_PASSWORD_MISMATCH, "no password fits"
end
