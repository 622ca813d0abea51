-- Stands for lua-resty-balancer's resty.roundrobin, which Debian lacks: each node in turn, as often as its weight says.
local RoundRobin = {}
RoundRobin.__index = RoundRobin

local function load(self, nodes)
  self.nodes = {}
  for id, weight in pairs(nodes) do
    for _ = 1, (weight or 1) do
      self.nodes[#self.nodes + 1] = id
    end
  end
  table.sort(self.nodes)
  self.last = 0
end

function RoundRobin.new(_, nodes)
  local self = setmetatable({}, RoundRobin)
  load(self, nodes)
  return self
end

function RoundRobin:reinit(nodes)
  load(self, nodes)
end

function RoundRobin:find()
  if #self.nodes == 0 then
    return nil
  end
  self.last = self.last % #self.nodes + 1
  return self.nodes[self.last]
end

return RoundRobin
