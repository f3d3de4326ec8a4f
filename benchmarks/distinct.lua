-- wrk: alerts that no two of are the same, as fast as possible or on a schedule, and a summary as one line of JSON.
--   wrk … -s distinct.lua URL -- SECRET RUN TICKERS RATE      RATE in posts a second over all threads, 0: no limit

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_timespec;
int clock_gettime(int clock, bench_timespec *time);
]]
local moment = ffi.new("bench_timespec")

local function milliseconds()
    ffi.C.clock_gettime(1, moment)
    return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
end

local threads = 0
function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(arguments)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["X-Webhook-Secret"] = arguments[1]
    run, tickers, rate = arguments[2], tonumber(arguments[3]), tonumber(arguments[4])
    sent = 0
    if rate > 0 then
        -- Taken up at a connection's next turn: a slot that is late is used at once, none is left out.
        local gap, slot = 1e3 / rate, milliseconds()
        function delay()
            slot = slot + gap
            return math.max(0, math.floor(slot - milliseconds() + 0.5))
        end
    end
end

function request()
    sent = sent + 1
    return wrk.format(nil, nil, nil, string.format(
        '{"ticker": "T%d", "action": "buy", "price": %d.25, "time": "2026-11-24T10:00:00Z", "interval": "5", '
            .. '"strategy": {"order": {"id": "Long", "contracts": 10}}, "run": "%s", "thread": %d, "n": %d}',
        sent % tickers, 100 + sent % 50, run, number, sent))
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, "failed": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
        latency:percentile(99) / 1e3, latency.max / 1e3,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
