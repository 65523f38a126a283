-- wrk script of script/bench collector: args are SERVER CASE TOKEN HIGHEST_ID PAGES. The same requests for
-- both servers, in the words of each; they are rendered before the clock starts.
local POOL = 4096
local SEVERITIES = {"low", "medium", "high", "critical"}
local WORDS = {
   peer = {severity = "severity=high", kind = '"type":"%s"', ip = "ip"},
   wind = {severity = "q=severity:high", kind = '"kind":"%s"', ip = "host"},
}
local pool, next_slot, words, cursors = {}, 0, nil, nil

local function get(path)
   return wrk.format("GET", path)
end

local function post_alert(i)
   local body = string.format(
      '{"severity":"%s","type":"port_scan","source":"sensor-%02d",' ..
      '"description":"10.0.%d.%d tried %d ports in 30 s",' ..
      '"metadata":{"model":"iforest-7","score":%.6f,"technique":"T1046","proto":"tcp","dest_port":445},' ..
      '"related_entities":[{' .. words.kind:format(words.ip) .. ',"value":"10.0.%d.%d"},' ..
      '{' .. words.kind:format("host") .. ',"value":"ws-%04d"}]}',
      SEVERITIES[math.random(4)], math.random(40), i % 256, i % 250 + 1, math.random(1000), math.random(),
      i % 256, i % 250 + 1, math.random(2000))
   return wrk.format("POST", "/api/alerts/", {
      ["Authorization"] = wrk.headers["Authorization"], ["Content-Type"] = "application/json"}, body)
end

local function search(i)
   if i % 2 == 0 then
      return get(string.format("/api/alerts/?limit=50&q=src:10.0.%d.%d", i % 80, i % 250 + 1))
   end
   return get(string.format("/api/alerts/?limit=50&q=entity:ws-%04d", i % 2000))
end

-- Pages anywhere: the server's own cursors, a line each.
local function read_lines(path)
   local lines = {}
   for line in io.lines(path) do lines[#lines + 1] = line end
   return lines
end

local function words_of(i)
   return get(string.format("/api/alerts/?limit=50&q=%d+failed+logins+10.0.%d.%d", 20 + i % 5000, i % 80, i % 250 + 1))
end

local function mixed(i, highest)
   local dice = i % 20
   if dice < 2 then return post_alert(i) end
   if dice < 10 then return get("/api/alerts/?limit=50") end
   if dice < 12 then return get("/api/alerts/?limit=50&" .. words.severity) end
   if dice < 18 then return get("/api/alerts/" .. math.random(highest)) end
   return get("/api/auth/me")
end

function init(args)
   local case, token, highest = args[2], args[3], tonumber(args[4])
   words = WORDS[args[1]]
   if case == "pages" then cursors = read_lines(args[5]) end
   wrk.headers["Authorization"] = "Bearer " .. token
   math.randomseed(1)
   local make = {
      health = function() return get("/healthz") end,
      list50 = function() return get("/api/alerts/?limit=50") end,
      get = function() return get("/api/alerts/" .. math.random(highest)) end,
      me = function() return get("/api/auth/me") end,
      post = post_alert,
      mix = function(i) return mixed(i, highest) end,
      search = search,
      words = words_of,
      pages = function(i) return get(cursors[i % #cursors + 1]) end,
   }
   for i = 1, POOL do pool[i] = make[case](i) end
   for i = POOL, 2, -1 do
      local j = math.random(i)
      pool[i], pool[j] = pool[j], pool[i]
   end
end

function request()
   next_slot = next_slot % POOL + 1
   return pool[next_slot]
end

function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      '\nRESULT {"requests":%d,"seconds":%.3f,"bytes":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"non_2xx":%d,"socket_errors":%d,"timeouts":%d}\n', summary.requests, summary.duration / 1e6,
      summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
      e.status, e.connect + e.read + e.write, e.timeout))
end
