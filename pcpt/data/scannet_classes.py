"""ScanNet's classes: ids, names and colours of NYU40, ScanNet-20, ScanNet200 and the 18 of object
detection.

Ids and colours are those of github.com/ScanNet/ScanNet (BenchmarkScripts/util.py,
BenchmarkScripts/ScanNet200/scannet200_constants.py), NYU40's names those of column nyu40class in
scannetv2-labels.combined.tsv, with refrigerator spelled as in the benchmark. The detection classes
are those of 3d_evaluation/evaluate_semantic_instance.py and of github.com/facebookresearch/votenet
(scannet/model_util_scannet.py, which prints "garbagebin" for otherfurniture).
"""

from pcpt.data.label_set import LabelSet, label_set

# id, red, green, blue, name
_NYU40 = """
1 174 199 232 wall
2 152 223 138 floor
3 31 119 180 cabinet
4 255 187 120 bed
5 188 189 34 chair
6 140 86 75 sofa
7 255 152 150 table
8 214 39 40 door
9 197 176 213 window
10 148 103 189 bookshelf
11 196 156 148 picture
12 23 190 207 counter
13 178 76 76 blinds
14 247 182 210 desk
15 66 188 102 shelves
16 219 219 141 curtain
17 140 57 197 dresser
18 202 185 52 pillow
19 51 176 203 mirror
20 200 54 131 floor mat
21 92 193 61 clothes
22 78 71 183 ceiling
23 172 114 82 books
24 255 127 14 refrigerator
25 91 163 138 television
26 153 98 156 paper
27 140 153 101 towel
28 158 218 229 shower curtain
29 100 125 154 box
30 178 127 135 whiteboard
31 120 185 128 person
32 146 111 194 night stand
33 44 160 44 toilet
34 112 128 144 sink
35 96 207 209 lamp
36 227 119 194 bathtub
37 213 92 176 bag
38 94 106 211 otherstructure
39 82 84 163 otherfurniture
40 100 85 144 otherprop
"""

_SCANNET200 = """
1 174 199 232 wall
2 188 189 34 chair
3 152 223 138 floor
4 255 152 150 table
5 214 39 40 door
6 91 135 229 couch
7 31 119 180 cabinet
8 229 91 104 shelf
9 247 182 210 desk
10 91 229 110 office chair
11 255 187 120 bed
13 141 91 229 pillow
14 112 128 144 sink
15 196 156 148 picture
16 197 176 213 window
17 44 160 44 toilet
18 148 103 189 bookshelf
19 229 91 223 monitor
21 219 219 141 curtain
22 192 229 91 book
23 88 218 137 armchair
24 58 98 137 coffee table
26 177 82 239 box
27 255 127 14 refrigerator
28 237 204 37 lamp
29 41 206 32 kitchen cabinet
31 62 143 148 towel
32 34 14 130 clothes
33 143 45 115 tv
34 137 63 14 nightstand
35 23 190 207 counter
36 16 212 139 dresser
38 90 119 201 stool
39 125 30 141 cushion
40 150 53 56 plant
41 186 197 62 ceiling
42 227 119 194 bathtub
44 38 100 128 end table
45 120 31 243 dining table
46 154 59 103 keyboard
47 169 137 78 bag
48 143 245 111 backpack
49 37 230 205 toilet paper
50 14 16 155 printer
51 196 51 182 tv stand
52 237 80 38 whiteboard
54 138 175 62 blanket
55 158 218 229 shower curtain
56 38 96 167 trash can
57 190 77 246 closet
58 208 49 84 stairs
59 208 193 72 microwave
62 55 220 57 stove
63 10 125 140 shoe
64 76 38 202 computer tower
65 191 28 135 bottle
66 211 120 42 bin
67 118 174 76 ottoman
68 17 242 171 bench
69 20 65 247 board
70 208 61 222 washing machine
71 162 62 60 mirror
72 210 235 62 copier
73 45 152 72 basket
74 35 107 149 sofa chair
75 160 89 237 file cabinet
76 227 56 125 fan
77 169 143 81 laptop
78 42 143 20 shower
79 25 160 151 paper
80 82 75 227 person
82 253 59 222 paper towel dispenser
84 240 130 89 oven
86 123 172 47 blinds
87 71 194 133 rack
88 24 94 205 plate
89 134 16 179 blackboard
90 159 32 52 piano
93 213 208 88 suitcase
95 64 158 70 rail
96 18 163 194 radiator
97 65 29 153 recycling bin
98 177 10 109 container
99 152 83 7 wardrobe
100 83 175 30 soap dispenser
101 18 199 153 telephone
102 61 81 208 bucket
103 213 85 216 clock
104 170 53 42 stand
105 161 192 38 light
106 23 241 91 laundry basket
107 12 103 170 pipe
110 151 41 245 clothes dryer
112 133 51 80 guitar
115 184 162 91 toilet paper holder
116 50 138 38 seat
118 31 237 236 speaker
120 39 19 208 column
121 223 27 180 bicycle
122 254 141 85 ladder
125 97 144 39 bathroom stall
128 106 231 176 shower wall
130 12 61 162 cup
131 124 66 140 jacket
132 137 66 73 storage bin
134 250 253 26 coffee maker
136 55 191 73 dishwasher
138 60 126 146 paper towel roll
139 153 108 234 machine
140 184 58 125 mat
141 135 84 14 windowsill
145 139 248 91 bar
148 53 200 172 toaster
154 63 69 134 bulletin board
155 190 75 186 ironing board
156 127 63 52 fireplace
157 141 182 25 soap dish
159 56 144 89 kitchen counter
161 64 160 250 doorframe
163 182 86 245 toilet paper dispenser
165 139 18 53 mini fridge
166 134 120 54 fire extinguisher
168 49 165 42 ball
169 51 128 133 hat
170 44 21 163 shower curtain rod
177 232 93 193 water cooler
180 176 102 54 paper cutter
185 116 217 17 tray
188 54 209 150 shower door
191 60 99 204 pillar
193 129 43 144 ledge
195 252 100 106 toaster oven
202 187 196 73 mouse
208 13 158 40 toilet seat cover dispenser
213 52 122 152 furniture
214 128 76 202 cart
221 187 50 115 storage container
229 180 141 71 scale
230 77 208 35 tissue box
232 72 183 168 light switch
233 97 99 203 crate
242 172 22 158 power outlet
250 155 64 40 decoration
261 118 159 30 sign
264 69 252 148 projector
276 45 103 173 closet door
283 111 38 149 vacuum cleaner
286 184 9 49 candle
300 188 174 67 plunger
304 53 206 53 stuffed animal
312 97 235 252 headphones
323 66 32 182 dish rack
325 236 114 195 broom
331 241 154 83 guitar case
342 133 240 52 range hood
356 16 205 144 dustpan
370 75 101 198 hair dryer
392 237 95 251 water bottle
395 191 52 49 handicap bar
399 227 254 54 purse
408 49 206 87 vent
417 48 113 150 shower floor
488 125 73 182 water pitcher
540 229 32 114 mailbox
562 158 119 28 bowl
570 60 205 27 paper bag
572 18 215 201 alarm clock
581 79 76 153 music stand
609 134 13 116 projector screen
748 192 97 63 divider
776 108 163 18 laundry detergent
1156 95 220 156 bathroom counter
1163 98 141 208 object
1164 144 19 193 bathroom vanity
1165 166 36 57 closet wall
1166 212 202 34 laundry hamper
1167 23 206 34 bathroom stall door
1168 91 211 236 ceiling light
1169 79 55 137 trash bin
1170 182 19 117 dumbbell
1171 134 76 14 stair rail
1172 87 185 28 tube
1173 82 224 187 bathroom cabinet
1174 92 110 214 cd case
1175 168 80 171 closet rod
1176 197 63 51 coffee kettle
1178 175 199 77 structure
1179 62 180 98 shower head
1180 8 91 150 keyboard piano
1181 77 15 130 case of water bottles
1182 154 65 96 coat rack
1183 197 152 11 storage organizer
1184 59 155 45 folded chair
1185 12 147 145 fire alarm
1186 54 35 219 power strip
1187 210 73 181 calendar
1188 221 124 77 poster
1189 149 214 66 potted plant
1190 72 185 134 luggage
1191 42 94 198 mattress
"""

_DETECTION = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)

NYU40 = label_set("nyu40", _NYU40)
SCANNET20 = label_set("scannet20", _NYU40, (1, 2, *_DETECTION))
SCANNET18 = label_set("scannet18", _NYU40, _DETECTION)
SCANNET200 = label_set("scannet200", _SCANNET200)
LABEL_SETS: dict[str, LabelSet] = {
    each.name: each for each in (NYU40, SCANNET20, SCANNET18, SCANNET200)
}
# which column of scannetv2-labels.combined.tsv holds a set's ids
ID_COLUMNS = {
    "nyu40": "nyu40id",
    "scannet20": "nyu40id",
    "scannet18": "nyu40id",
    "scannet200": "id",
}
