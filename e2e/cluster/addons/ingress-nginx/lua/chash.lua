-- Stands for lua-resty-balancer's resty.chash, which Debian lacks: the node with the highest hash of itself and the key, so that
-- a key keeps its node while that is there. Weights are not looked at.
local ConsistentHash = {}
ConsistentHash.__index = ConsistentHash

local function load(self, nodes)
  self.nodes = {}
  for id in pairs(nodes) do
    self.nodes[#self.nodes + 1] = id
  end
  table.sort(self.nodes)
end

function ConsistentHash.new(_, nodes)
  local self = setmetatable({}, ConsistentHash)
  load(self, nodes)
  return self
end

function ConsistentHash:reinit(nodes)
  load(self, nodes)
end

function ConsistentHash:find(key)
  local best, best_hash
  for _, node in ipairs(self.nodes) do
    local hash = ngx.crc32_long(node .. "|" .. tostring(key))
    if not best_hash or hash > best_hash then
      best, best_hash = node, hash
    end
  end
  return best
end

return ConsistentHash
