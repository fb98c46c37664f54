-- Return a function that finds a user's line in the directory's table (src/postal_plexus/directory/tables.py).
--
-- The table is sorted by address, so a search reads a dozen blocks. With 10,000 mailboxes the table has 1.4 MB, and in a
-- stack of several hosts each delivery looks a user up twice. Before a user counts as unknown, the whole table is
-- read, because an earlier version of `deliver` did not sort it.

local TABLE = "/run/plexus/directory/dovecot-passwd"
local BLOCK = 65536

-- Compare octets; Lua's own comparison depends on the locale.
local function is_before(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = one:byte(at), other:byte(at)
    if a ~= b then return a < b end
  end
  return #one < #other
end

-- If the user has a line, it begins between `low` and `high`.
local function searched(file, user)
  local low, high = 0, file:seek("end")
  while low < high do
    -- Go to the first line that begins at the middle or after it.
    local middle = (low + high) // 2
    file:seek("set", math.max(middle - 1, 0))
    if middle > 0 then file:read("L") end
    local start = file:seek()
    local line = start < high and file:read("l")
    local name = line and line:match("^[^:]*")
    if name == user then
      return line:sub(#name + 2)
    elseif name and is_before(name, user) then
      low = start + #line + 1
    else
      high = middle
    end
  end
  return nil
end

local function scanned(file, user)
  file:seek("set", 0)
  while true do
    local block, rest = file:read(BLOCK, "L")
    if not block then return nil end
    local text = "\n" .. block .. (rest or "")
    local _, stop = text:find("\n" .. user .. ":", 1, true)
    if stop then return text:match("[^\n]*", stop + 1) end
  end
end

-- Return what follows the user's name in its line, or nil for an unknown user.
return function(user)
  local file = io.open(TABLE, "rb")
  if not file then return nil end
  local line = searched(file, user) or scanned(file, user)
  file:close()
  return line
end
